//! The tiny decoder-only checkpoints, adapted: requests, what is written, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::adaptation::Summary;
use model::{AdaptRequest, Adaptation, Checkpoint, Error};
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::checkpoints::{Stored, TENSORS, edit, stored};
use crate::runner::Runner;

/// A decoder-only checkpoint.
pub const NARROW: &str = "gemma2-source";
/// A wider decoder-only checkpoint with the same vocabulary.
pub const WIDE: &str = "gemma2-source-wide";

/// A decoder-only Gemma 3.
pub const GEMMA3: &str = "gemma3-source";

pub fn request(encoder: &Path, decoder: &Path, out: &Path) -> AdaptRequest {
    let [encoder, decoder, out] = [encoder, decoder, out].map(Path::to_owned);
    AdaptRequest { encoder, decoder, tokenizer: None, out, seed: 1 }
}

pub fn write(request: AdaptRequest) -> Summary {
    let adaptation = Adaptation::prepare(request).unwrap();
    let mut done = 0;
    let summary = adaptation.write(&mut |bytes| done += bytes).unwrap();
    assert_eq!((done, summary.bytes), (adaptation.bytes(), adaptation.bytes()), "the progress ends at the whole");
    summary
}

/// An encoder-decoder of two sources, in a folder of its own.
pub fn adapted(encoder: &Path, decoder: &Path) -> TempDir {
    let out = TempDir::new().unwrap();
    write(request(encoder, decoder, out.path()));
    out
}

pub fn tensors(folder: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(folder.join(TENSORS)).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    read.iter().map(|(name, view)| (name.to_owned(), stored(&view))).collect()
}

pub fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub fn refusal(encoder: &Path, decoder: &Path, out: &Path) -> Vec<String> {
    match Adaptation::prepare(request(encoder, decoder, out)).unwrap_err() {
        Error::Adaptation { problems } => problems,
        other => panic!("{other}"),
    }
}

/// Asserts that there is a problem with each of the parts, in their order, and no other.
pub fn assert_problems(problems: &[String], parts: &[&str]) {
    assert_eq!(problems.len(), parts.len(), "{problems:#?}");
    for (problem, part) in problems.iter().zip(parts) {
        assert!(problem.contains(part), "{part}: {problem}");
    }
}

/// Adds an output table that is not the embedding table.
pub fn untie(folder: &Path) {
    edit(&folder.join("config.json"), |config| config["tie_word_embeddings"] = json!(false));
    let bytes = fs::read(folder.join(TENSORS)).unwrap();
    let mut views = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let mut table = stored(&views.iter().find(|(name, _)| name == "model.embed_tokens.weight").unwrap().1);
    table.2.rotate_left(4);
    let table = safetensors::tensor::TensorView::new(table.0, table.1.clone(), &table.2).unwrap();
    views.push(("lm_head.weight".to_owned(), table));
    let written = serialize(views, None).unwrap();
    fs::write(folder.join(TENSORS), written).unwrap();
}

/// The logits of all positions of a target, in float32.
pub fn logits(checkpoint: &Checkpoint, source: &[u32], target: &[u32]) -> Vec<f32> {
    let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), checkpoint, Precision::F32, 1);
    let (_, mut sequences) = runner.encode(&[source], 1);
    sequences[0].tokens = target.to_vec();
    let rows = runner.step(&sequences, |_| 0);
    runner.model.read_logits(rows, &runner.space)
}
