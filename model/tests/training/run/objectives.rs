//! Every objective, with and without a teacher, for pairs of both generations: the loss falls, a run that was killed
//! ends as one that was not, and the final model is served as it was trained.

use std::fs;
use std::path::Path;

use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::training::{Batch, Example, Network, NetworkOptions};
use model::{Checkpoint, EncoderCheckpoint, EncoderModel, Readout, Tokenizer};
use serde_json::{Value, json};

use super::resumption::assert_same_end;
use super::trial::Trial;
use crate::fixture::{self, FOLDERS, SECOND};
use crate::runner::Runner;
use crate::trained::{largest_difference, numbers};

/// Steps that `assert_same_end` expects.
const STEPS: u64 = 8;

/// An objective and the fixture of its teacher, if it has one.
struct Task {
    objective: Value,
    teacher: Option<&'static str>,
}

/// The objectives that a pair learns; the teachers are a decoder-only model and a pair of its own generation.
fn tasks([decoder, pair]: [&'static str; 2]) -> Vec<Task> {
    let plain = |kind: &str| json!({ "kind": kind });
    let sentinels = ["<0x00>", "<0x01>", "<0x02>", "<0x03>"];
    [
        (plain("seq2seq"), None),
        (plain("prefix_lm"), None),
        (json!({ "kind": "ul2", "mode_tokens": [], "sentinels": sentinels }), None),
        (plain("classify"), None),
        (plain("prefix_lm"), Some(decoder)),
        (plain("seq2seq"), Some(pair)),
    ]
    .map(|(objective, teacher)| Task { objective, teacher })
    .into()
}

/// A run whose steps take all rows, so that its losses can be compared.
fn trial(init: &str, task: &Task) -> Trial {
    let mut trial = Trial::with(&[
        ("model", json!({ "init": fixture::path(init), "save_as": "f32" })),
        ("objective", task.objective.clone()),
        ("data.batch_tokens", json!(2000)),
        ("stage", json!([{ "steps": STEPS, "learning_rate": 5e-3, "schedule": "constant" }])),
    ]);
    if let Some(teacher) = task.teacher {
        trial.set("distillation", json!({ "teacher": fixture::path(teacher), "temperature": 2.0, "weight": 0.5 }));
    }
    trial
}

fn hold(init: &str, teachers: [&'static str; 2]) {
    for task in tasks(teachers) {
        let what = format!("{init}, {}, taught by {:?}", task.objective["kind"], task.teacher);
        let (whole, broken) = (trial(init, &task), trial(init, &task));
        let losses = whole.finish().losses();
        assert!(losses[7] < 0.8 * losses[0], "{what}: {losses:?}");
        broken.kill_after(3);
        broken.finish();
        assert_same_end(&broken, &whole, &what);
        let folder = whole.out().join("final");
        let apart = if task.objective["kind"] == "classify" { scores_apart(&folder) } else { logits_apart(&folder) };
        assert!(apart < 1e-3, "{what}: served, a number is off by {apart}");
    }
}

#[test]
fn a_t5gemma_learns_every_objective_and_is_served_as_it_was_trained() {
    hold(FOLDERS[0], ["gemma2-source", FOLDERS[1]]);
}

#[test]
fn a_t5gemma2_learns_every_objective_and_is_served_as_it_was_trained() {
    hold(SECOND[0], ["gemma3-source", SECOND[1]]);
}

fn opened(folder: &Path) -> (Network, Tokenizer) {
    let network = Network::open(folder, &NetworkOptions::default()).unwrap();
    (network, Tokenizer::from_bytes(&fs::read(folder.join("tokenizer.json")).unwrap()).unwrap())
}

/// Largest difference between the logits of the network that was trained and those of the serving path.
fn logits_apart(folder: &Path) -> f32 {
    let (network, tokenizer) = opened(folder);
    let source = tokenizer.encode_with_special_tokens("copy and distribute").unwrap();
    let target = tokenizer.encode("the work of names").unwrap();
    let example = Example::Pair { source: source.clone(), target: target.clone() };
    let logits = numbers(&network.logits(&Batch { examples: vec![example] }).unwrap());

    let checkpoint = Checkpoint::open(folder).unwrap();
    let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, 1);
    let (_, mut sequences) = runner.encode(&[&source], 8);
    sequences[0].tokens.extend(&target[..target.len() - 1]);
    let rows = runner.step(&sequences, |_| 0);
    largest_difference(&logits, &runner.model.read_logits(rows, &runner.space))
}

/// Largest difference between a classifier's scores as they were trained and as they are served.
fn scores_apart(folder: &Path) -> f32 {
    let (network, tokenizer) = opened(folder);
    let source = tokenizer.encode_with_special_tokens("copy and distribute").unwrap();
    let checkpoint = EncoderCheckpoint::open(folder).unwrap();
    assert_eq!(checkpoint.config().labels, ["even", "odd", "third"]);
    let backend = Cpu::new(Isa::detect(), 1);
    let served = EncoderModel::load(backend, &checkpoint, Precision::F32, &mut |_| ()).unwrap();
    let mut space = served.space([source.len(), 0]).unwrap();
    let found = served.read_batch(&[&source], Readout::Classes, &mut space);
    largest_difference(&found[0], &network.class_scores(&[&source]).unwrap()[0])
}
