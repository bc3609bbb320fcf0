//! Published variants of the model's output: an explicit output table, and more than one end token.

use crate::fixture;
use std::fs;

use crate::fixture::Case;
use crate::fixture::checkpoints::{Stored, TENSORS, copied, edit, stored, views};
use crate::runner::Runner;
use kernels::cpu::{Cpu, Isa};
use kernels::{Draw, DrawRule, DrawRules, Draws, Precision, Sampling};
use model::Checkpoint;
use safetensors::{SafeTensors, serialize};
use serde_json::json;
use tempfile::TempDir;

const FOLDER: &str = "t5gemma-balanced";

/// The balanced checkpoint with an output table of its own, made of the tied one.
fn untied(change: impl Fn(Stored) -> Stored) -> TempDir {
    let bytes = fixture::bytes(&format!("{FOLDER}/{TENSORS}"));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<(String, Stored)> = tensors.iter().map(|(name, view)| (name.to_owned(), stored(&view))).collect();
    let table = stored(&tensors.tensor("model.decoder.embed_tokens.weight").unwrap());
    all.push(("lm_head.out_proj.weight".to_owned(), change(table)));
    let folder = copied(FOLDER);
    fs::write(folder.path().join(TENSORS), serialize(views(&all), None).unwrap()).unwrap();
    edit(&folder.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(false));
    folder
}

/// Logits of every forced position of a case, `[positions][vocab]`.
fn logits(checkpoint: &Checkpoint, isa: Isa, precision: Precision, case: &Case) -> Vec<Vec<f32>> {
    let mut runner = Runner::new(Cpu::new(isa, 1), checkpoint, precision, 1);
    let (_, mut sequences) = runner.encode(&[&case.input_ids], usize::MAX);
    sequences[0].tokens.clone_from(&case.decoder_input_ids);
    let rows = runner.step(&sequences, |_| 0);
    let logits = runner.model.read_logits(rows, &runner.space);
    logits.chunks(checkpoint.config().decoder.vocab).map(<[f32]>::to_vec).collect()
}

#[test]
fn an_explicit_output_table_gives_the_logits_and_leaves_the_embedding_alone() {
    let case = &Case::all(FOLDER)[2];
    let tied = Checkpoint::open(&fixture::path(FOLDER)).unwrap();
    let equal = untied(|table| table);
    let upside_down = untied(|(dtype, shape, bytes)| {
        let rows = bytes.chunks(bytes.len() / shape[0]).rev();
        (dtype, shape, rows.flatten().copied().collect())
    });
    for precision in [Precision::F32, Precision::Bf16] {
        for isa in Isa::all() {
            let of = |checkpoint: &Checkpoint| logits(checkpoint, isa, precision, case);
            let expected = of(&tied);
            assert!(of(&Checkpoint::open(equal.path()).unwrap()) == expected, "{isa:?}, {precision:?}: equal tables");
            let mut turned = of(&Checkpoint::open(upside_down.path()).unwrap());
            turned.iter_mut().for_each(|row| row.reverse());
            assert!(turned == expected, "{isa:?}, {precision:?}: rows of the table in reverse");
        }
    }
}

/// Two end tokens, one of them the id that would be written next.
#[test]
fn every_end_token_of_a_list_may_be_forbidden() {
    let case = &Case::all(FOLDER)[1];
    let folder = copied(FOLDER);
    edit(&folder.path().join("generation_config.json"), |config| {
        config["eos_token_id"] = json!([1, case.greedy_ids[0]]);
    });
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.config().end_tokens, [1, case.greedy_ids[0]]);
    for isa in Isa::all() {
        let mut runner = Runner::new(Cpu::new(isa, 1), &checkpoint, Precision::F32, 1);
        let (_, sequences) = runner.encode(&[&case.input_ids], usize::MAX);
        runner.step(&sequences, |_| 0);
        let mut rules = DrawRules::default();
        let no_end = rules.add(DrawRule::ban(&checkpoint.config().end_tokens));
        let draw = |sampling, forbids_end: bool| {
            let rule = forbids_end.then_some(no_end);
            let draws = Draws { list: &[Draw { sampling, rule, ..Draw::greedy(0) }], rules: &rules };
            runner.sample(draws)[0].expect("logits are numbers")
        };
        let (_, best) = runner.score(0, 0, 3);
        let allowed = best.iter().find(|candidate| ![1, case.greedy_ids[0]].contains(&candidate.id)).unwrap().id;
        assert_eq!(draw(Sampling::GREEDY, false), case.greedy_ids[0]);
        assert_eq!(draw(Sampling::GREEDY, true), allowed);
        for seed in 0..200 {
            let id = draw(Sampling { temperature: 1.0, seed, ..Sampling::GREEDY }, true);
            assert!(!checkpoint.config().end_tokens.contains(&id), "{isa:?}, seed {seed}: {id}");
        }
    }
}
