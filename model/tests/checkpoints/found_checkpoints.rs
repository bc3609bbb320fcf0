//! Checkpoints as other programs leave them: tables under either name of a pair, fields that nobody reads, several
//! first tokens. They generate what transformers 5.17 generates with them (float32, eager attention).

use crate::fixture;
use std::fs;
use std::path::Path;

use crate::fixture::checkpoints::{
    INDEX, Stored, TENSORS, contents, converted, copied, edit, rewrite, sharded, stored, views,
};
use crate::runner::Runner;
use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Scheme};
use model::training::{Batch, Example, Network, NetworkOptions};
use model::{AdaptRequest, Adaptation, Checkpoint, DecoderCheckpoint, quantize};
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

const BALANCED: &str = "t5gemma-balanced";
const SOURCE: &str = "gemma2-source";
const EMBEDDING: &str = "model.decoder.embed_tokens.weight";
const OUTPUT: &str = "lm_head.out_proj.weight";
const IDS: [u32; 13] = [2, 40, 300, 77, 401, 90, 33, 250, 111, 64, 400, 9, 321];
/// Ids that the balanced checkpoint generates when the first token is 2.
const FROM_2: [u32; 12] = [418, 418, 418, 82, 201, 201, 201, 201, 201, 201, 336, 336];
/// Ids that it generates when the first token is 5.
const FROM_5: [u32; 12] = [157, 157, 157, 157, 157, 157, 157, 157, 92, 92, 199, 199];
/// Ids that it generates when the rows of its output table are those of the embedding table in reverse.
const REVERSED: [u32; 12] = [93, 93, 420, 433, 433, 433, 433, 433, 433, 433, 155, 155];
/// Its loss then, for these ids of a source and a target.
const REVERSED_LOSS: (f64, [u32; 8], [u32; 3]) = (34.808_452, [2, 378, 335, 329, 494, 413, 453, 341], [413, 318, 1]);

fn greedy(folder: &Path) -> Vec<u32> {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, 1);
    let (_, mut sequences) = runner.encode(&[&IDS], usize::MAX);
    runner.greedy(&mut sequences, 12);
    sequences[0].tokens[1..].to_vec()
}

/// Stores a further tensor, made of one that is there.
fn add(folder: &Path, name: &str, from: &str, change: impl FnOnce(Stored) -> Stored) {
    let bytes = fs::read(folder.join(TENSORS)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<(String, Stored)> = tensors.iter().map(|(name, view)| (name.to_owned(), stored(&view))).collect();
    all.push((name.to_owned(), change(stored(&tensors.tensor(from).unwrap()))));
    fs::write(folder.join(TENSORS), serialize(views(&all), None).unwrap()).unwrap();
}

fn reversed((dtype, shape, bytes): Stored) -> Stored {
    let rows = bytes.chunks(bytes.len() / shape[0]).rev();
    (dtype, shape, rows.flatten().copied().collect())
}

/// A copy whose configuration ties its tables, though an output table of its own is stored.
fn with_other_head() -> TempDir {
    let folder = copied(BALANCED);
    add(folder.path(), OUTPUT, EMBEDDING, reversed);
    folder
}

fn rename(folder: &Path, from: &str, to: &str) {
    rewrite(folder, |name, view| Some((if name == from { to } else { name }.to_owned(), stored(view))));
}

/// A copy whose tied table is stored as the output table.
fn with_head_only() -> TempDir {
    let folder = copied(BALANCED);
    rename(folder.path(), EMBEDDING, OUTPUT);
    folder
}

fn network(folder: &Path) -> Network {
    Network::open(folder, &NetworkOptions::default()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let bytes = fs::read(folder.join(TENSORS)).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(ToOwned::to_owned).collect()
}

fn says_tied(folder: &Path) -> bool {
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    config["tie_word_embeddings"].as_bool().unwrap()
}

#[test]
fn an_output_table_that_is_stored_with_other_numbers_is_used_though_the_configuration_ties_it() {
    let folder = with_other_head();
    assert!(says_tied(folder.path()) && !Checkpoint::open(folder.path()).unwrap().config().tie_word_embeddings);
    assert_eq!(greedy(folder.path()), REVERSED);

    let (expected, source, target) = REVERSED_LOSS;
    let network = network(folder.path());
    let examples = vec![Example::Pair { source: source.to_vec(), target: target.to_vec() }];
    let sums = network.evaluate(&Batch { examples }).unwrap();
    let loss = sums.loss / sums.tokens as f64;
    assert!((loss - expected).abs() < 1e-4 * expected, "{loss}");
    assert_eq!(network.document().json()["tie_word_embeddings"], json!(false), "what is saved says so");
}

#[test]
fn copies_keep_an_output_table_that_is_stored_with_other_numbers() {
    let (folder, out) = (with_other_head(), TempDir::new().unwrap());
    quantize(&Checkpoint::open(folder.path()).unwrap(), Scheme::Int8, out.path(), &mut |_| ()).unwrap();
    assert!(names(out.path()).contains(&OUTPUT.to_owned()) && !says_tied(out.path()));

    let (source, out) = (copied(SOURCE), TempDir::new().unwrap());
    add(source.path(), "lm_head.weight", "model.embed_tokens.weight", reversed);
    adapt(source.path(), out.path());
    assert!(names(out.path()).contains(&OUTPUT.to_owned()) && !says_tied(out.path()));
}

#[test]
fn an_output_table_with_the_numbers_of_the_embedding_table_is_that_table() {
    let folder = copied(BALANCED);
    rewrite(folder.path(), |name, view| Some((name.to_owned(), converted(view, Dtype::BF16))));
    add(folder.path(), OUTPUT, EMBEDDING, |(_, shape, bytes)| {
        let wide = bytes.chunks_exact(2).flat_map(|half| [0, 0, half[0], half[1]]);
        (Dtype::F32, shape, wide.collect())
    });
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert!(checkpoint.config().tie_word_embeddings);
    assert!(!contents(&checkpoint).contains_key(OUTPUT));
}

#[test]
fn an_output_table_of_another_shape_is_refused() {
    let folder = copied(BALANCED);
    add(folder.path(), OUTPUT, "model.encoder.norm.weight", |table| table);
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("lm_head.out_proj.weight has shape"), "{message}");
}

#[test]
fn a_tied_table_may_be_stored_under_the_name_of_the_output_table() {
    let expected = contents(&Checkpoint::open(&fixture::path(BALANCED)).unwrap());
    let folder = with_head_only();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(contents(&checkpoint), expected);
    assert_eq!(greedy(folder.path()), FROM_2);
    let (found, original) = (network(folder.path()), network(&fixture::path(BALANCED)));
    let values = |network: &Network| network.parameters()[EMBEDDING].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(found.parameters().keys().eq(original.parameters().keys()) && values(&found) == values(&original));

    let copy = TempDir::new().unwrap();
    quantize(&checkpoint, Scheme::Int8, copy.path(), &mut |_| ()).unwrap();
    assert!(names(copy.path()).contains(&EMBEDDING.to_owned()) && says_tied(copy.path()));
}

#[test]
fn a_tied_table_may_be_stored_so_in_shards_too() {
    let folder = sharded(BALANCED);
    let mut shard = String::new();
    edit(&folder.path().join(INDEX), |index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        let place = map.remove(EMBEDDING).unwrap();
        shard = place.as_str().unwrap().to_owned();
        map.insert(OUTPUT.to_owned(), place);
    });
    let path = folder.path().join(shard);
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let named = |name: &str| if name == EMBEDDING { OUTPUT } else { name }.to_owned();
    let all: Vec<(String, Stored)> = tensors.iter().map(|(name, view)| (named(name), stored(&view))).collect();
    fs::write(&path, serialize(views(&all), None).unwrap()).unwrap();
    assert_eq!(greedy(folder.path()), FROM_2);
    network(folder.path());
}

#[test]
fn a_source_to_adapt_may_store_its_table_under_either_name() {
    let (source, out) = (copied(SOURCE), TempDir::new().unwrap());
    rename(source.path(), "model.embed_tokens.weight", "lm_head.weight");
    assert!(DecoderCheckpoint::open(source.path()).unwrap().config().tie_word_embeddings);
    network(source.path());
    adapt(source.path(), out.path());
    assert!(says_tied(out.path()));
    assert_eq!(contents(&Checkpoint::open(out.path()).unwrap()), {
        let original = TempDir::new().unwrap();
        adapt(&fixture::path(SOURCE), original.path());
        contents(&Checkpoint::open(original.path()).unwrap())
    });
}

fn adapt(source: &Path, out: &Path) {
    let [encoder, decoder, out] = [source, source, out].map(ToOwned::to_owned);
    let request = AdaptRequest { encoder, decoder, tokenizer: None, out, seed: 1 };
    Adaptation::prepare(request).unwrap().write(&mut |_| ()).unwrap();
}

#[test]
fn a_vocabulary_size_outside_the_stacks_may_be_anything() {
    for size in [json!(256_000), json!(100), json!("many")] {
        let folder = copied(BALANCED);
        edit(&folder.path().join("config.json"), |config| config["vocab_size"] = size);
        assert_eq!(greedy(folder.path()), FROM_2);
    }
}

#[test]
fn the_first_token_is_that_of_transformers_when_places_name_several() {
    let cases = [
        (json!({"bos_token_id": 2}), json!({"bos_token_id": 2}), Some(json!({"bos_token_id": 5})), FROM_5),
        (json!({"bos_token_id": 2}), json!({"bos_token_id": 5}), Some(json!({"bos_token_id": 2})), FROM_2),
        (
            json!({"bos_token_id": 2, "decoder_start_token_id": 5}),
            json!({"bos_token_id": 2}),
            Some(json!({"bos_token_id": 2})),
            FROM_2,
        ),
        (json!({"bos_token_id": 5}), json!({"bos_token_id": 2}), None, FROM_5),
    ];
    for (top, decoder, generation, expected) in cases {
        let folder = copied(BALANCED);
        let put = |place: &mut Value, tokens: &Value| {
            let place = place.as_object_mut().unwrap();
            place.retain(|key, _| !["bos_token_id", "decoder_start_token_id"].contains(&key.as_str()));
            tokens.as_object().unwrap().iter().for_each(|(key, token)| {
                place.insert(key.clone(), token.clone());
            });
        };
        edit(&folder.path().join("config.json"), |config| {
            put(config, &top);
            put(&mut config["decoder"], &decoder);
        });
        let path = folder.path().join("generation_config.json");
        match &generation {
            Some(tokens) => edit(&path, |config| put(config, tokens)),
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(greedy(folder.path()), expected, "{top}, {decoder}, {generation:?}");
    }
}
