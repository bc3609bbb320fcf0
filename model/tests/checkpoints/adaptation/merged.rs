//! Gemma 3 adapted to T5Gemma 2: the tensor that each tensor comes from, the files beside, and the decoder without a
//! source, which is the source's model.

use std::fs;
use std::path::Path;

use kernels::cpu::{Cpu, Isa};
use kernels::{DType, Precision, WeightPart};
use model::adaptation::Summary;
use model::{AdaptRequest, Checkpoint, TensorTable, Tokenizer};
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sources::{GEMMA3, adapted, document, logits, request, tensors, write};
use crate::fixture;
use crate::fixture::checkpoints::{Stored, TENSORS, converted, copied, edit, rewrite, stored, views};
use crate::runner::Runner;

const GGUF: &str = "gemma3-gguf";
const TABLE: &str = "model.encoder.embed_tokens.weight";
const VECTOR: &str = "model.encoder.embed_tokens.eoi_embedding";

/// Name in Gemma 3 of a tensor of T5Gemma 2, written out name by name.
fn source_name(name: &str) -> String {
    match name {
        TABLE => return "model.embed_tokens.weight".to_owned(),
        "model.encoder.norm.weight" | "model.decoder.norm.weight" => return "model.norm.weight".to_owned(),
        _ => {}
    }
    let (_, after) = name.split_once(".layers.").unwrap();
    let part = after.replace("pre_self_attn_layernorm", "input_layernorm");
    format!("model.layers.{}", part.replace("post_self_attn_layernorm", "post_attention_layernorm"))
}

/// The GGUF fixture, adapted with itself.
fn adapted_gguf() -> TempDir {
    let out = TempDir::new().unwrap();
    let [model, tokenizer] = ["model.gguf", "tokenizer.json"].map(|name| fixture::path(GGUF).join(name));
    let request = AdaptRequest { tokenizer: Some(tokenizer), ..request(&model, &model, out.path()) };
    assert!(write(request).has_tokenizer);
    out
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Logits of the decoder after each token of a text, without a source.
fn logits_without_source(folder: &Path, text: &[u32], precision: Precision) -> Vec<f32> {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), &checkpoint, precision, 1);
    let mut sequence = runner.without_source();
    assert_eq!(sequence.tokens, [2], "a text begins with the start token");
    sequence.tokens = text.to_vec();
    let rows = runner.step(&[sequence], |_| 0);
    runner.model.read_logits(rows, &runner.space)
}

/// The tokens of a source's only case, and the logits that transformers computes with the source.
fn case(name: &str) -> (Vec<u32>, Vec<f32>) {
    let cases: Value = document(&fixture::path(&format!("{name}/cases.json")));
    let bytes = fixture::bytes(&format!("{name}/expected.safetensors"));
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let (_, logits) = expected.iter().find(|(name, _)| name.ends_with("logits")).unwrap();
    (serde_json::from_value(cases[0]["input_ids"].clone()).unwrap(), floats(logits.data()))
}

fn farthest(own: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(own.len(), theirs.len());
    own.iter().zip(theirs).map(|(own, theirs)| (own - theirs).abs()).fold(0.0, f32::max)
}

#[test]
fn the_adapted_decoder_without_a_source_gives_its_sources_logits() {
    let folder = adapted(&fixture::path(GEMMA3), &fixture::path(GEMMA3));
    let gguf = adapted_gguf();
    // The file leaves it to llama.cpp which layers slide, and the fixture has another choice in so few of them.
    let kinds = document(&fixture::path(GGUF).join("config.json"))["layer_types"].take();
    edit(&gguf.path().join("config.json"), |config| {
        config["encoder"]["text_config"]["layer_types"] = kinds.clone();
        config["decoder"]["layer_types"] = kinds;
    });
    for (name, folder) in [(GEMMA3, &folder), (GGUF, &gguf)] {
        let (text, expected) = case(name);
        let farthest = farthest(&logits_without_source(folder.path(), &text, Precision::F32), &expected);
        assert!(farthest <= 1e-3, "{name}: {farthest}");
    }
}

#[test]
fn a_text_without_a_source_is_the_same_alone_and_beside_one_with_a_source() {
    let folder = adapted(&fixture::path(GEMMA3), &fixture::path(GEMMA3));
    let (text, _) = case(GEMMA3);
    let text = text[..40].to_vec();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    for precision in [Precision::F32, Precision::Bf16] {
        let alone = logits_without_source(folder.path(), &text, precision);
        let mut runner = Runner::new(Cpu::new(Isa::detect(), 2), &checkpoint, precision, 2);
        let (_, mut sequences) = runner.encode(&[&text, &text], usize::MAX);
        sequences[0] = runner.without_source();
        sequences[0].tokens = text.clone();
        sequences[1].tokens = text[..2].to_vec();
        let rows = runner.step(&sequences, |_| 0);
        let both = runner.model.read_logits(rows, &runner.space);
        assert!(both[..alone.len()] == alone, "{precision:?}");
    }
}

#[test]
fn every_weight_is_one_of_the_source_and_the_table_is_there_once() {
    let source = fixture::path(GEMMA3);
    let out = TempDir::new().unwrap();
    let summary = write(request(&source, &source, out.path()));
    let (mut made, source) = (tensors(out.path()), tensors(&source));
    // This vocabulary ends before the end of an image.
    let (_, shape, bytes) = made.remove(VECTOR).unwrap();
    assert!(shape == [32] && bytes.iter().all(|byte| *byte == 0));
    for (name, tensor) in &made {
        assert!(*tensor == source[&source_name(name)], "{name}");
    }
    let checkpoint = Checkpoint::open(out.path()).unwrap();
    let table = TensorTable::new(checkpoint.config());
    assert!(table.iter().all(|(name, _)| made.contains_key(name)) && table.iter().count() == made.len());
    let parameters = checkpoint.config().parameters();
    let bytes = 4 * (parameters + 32);
    let expected =
        Summary { parameters, bytes, copied: made.len() + 1, random: 0, is_merged: true, has_tokenizer: true };
    assert_eq!(summary, expected);
}

#[test]
fn blocks_of_a_gguf_become_the_numbers_that_llama_cpp_reads() {
    let made = tensors(adapted_gguf().path());
    let bytes = fixture::bytes(&format!("{GGUF}/expected.safetensors"));
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, (_, shape, numbers)) in made.iter().filter(|(name, _)| *name != VECTOR) {
        let Ok(view) = expected.tensor(&source_name(name)) else { continue };
        assert_eq!(view.shape(), shape, "{name}");
        // Norms were rounded when the file's writer added 1 to them.
        let tolerance = if shape.len() == 1 { f32::EPSILON } else { 0.0 };
        assert!(farthest(&floats(numbers), &floats(view.data())) <= tolerance, "{name}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}

#[test]
fn encoder_and_decoder_may_come_from_two_sources_and_the_table_from_the_decoders() {
    let other = copied(GEMMA3);
    rewrite(other.path(), |name, view| {
        let (dtype, shape, bytes) = stored(view);
        let reversed = bytes.chunks_exact(4).rev().flatten().copied().collect();
        Some((name.to_owned(), (dtype, shape, reversed)))
    });
    let out = adapted(other.path(), &fixture::path(GEMMA3));
    let (encoder, decoder) = (tensors(other.path()), tensors(&fixture::path(GEMMA3)));
    for (name, tensor) in tensors(out.path()).iter().filter(|(name, _)| *name != VECTOR) {
        let source = if name.starts_with("model.encoder.") && name != TABLE { &encoder } else { &decoder };
        assert!(*tensor == source[&source_name(name)], "{name}");
    }
}

#[test]
fn the_end_of_an_image_is_embedded_as_in_the_source() {
    let source = copied(GEMMA3);
    edit(&source.path().join("config.json"), |config| config["eoi_token_index"] = json!(40));
    for dtype in [Dtype::F32, Dtype::BF16] {
        let typed = copied(GEMMA3);
        fs::copy(source.path().join("config.json"), typed.path().join("config.json")).unwrap();
        rewrite(typed.path(), |name, view| Some((name.to_owned(), converted(view, dtype))));
        let out = adapted(typed.path(), typed.path());
        assert_eq!(document(&out.path().join("config.json"))["encoder"]["eoi_token_index"], 40);
        assert_eq!(Checkpoint::open(out.path()).unwrap().config().encoder.own_row_token, Some(40));
        assert_eq!(tensors(out.path())[VECTOR].0, dtype);
        if dtype == Dtype::F32 {
            let with = |folder: &Path| logits_without_source(folder, &[2, 40, 17, 40, 300], Precision::F32);
            let plain = adapted(&fixture::path(GEMMA3), &fixture::path(GEMMA3));
            assert!(farthest(&with(out.path()), &with(plain.path())) <= 1e-4, "token 40 means what it meant");
        }
    }
}

#[test]
fn the_configuration_is_as_transformers_writes_it() {
    let out = adapted(&fixture::path(GEMMA3), &fixture::path(GEMMA3));
    let made = document(&out.path().join("config.json"));
    let reference = document(&fixture::path("t5gemma2-scaled/config.json"));
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made), names(&reference));
    assert_eq!(names(&made["encoder"]), names(&reference["encoder"]));
    assert_eq!(names(&made["decoder"]), names(&reference["decoder"]));
    let mut text = made["encoder"]["text_config"].clone();
    text["model_type"] = made["decoder"]["model_type"].clone();
    assert_eq!(text, made["decoder"]);
    let source = document(&fixture::path(GEMMA3).join("config.json"));
    for (name, value) in made["decoder"].as_object().unwrap() {
        if let Some(expected) = source.get(name).filter(|_| name != "model_type") {
            assert_eq!(value, expected, "{name}");
        }
    }
    let generation = document(&out.path().join("generation_config.json"));
    assert_eq!(generation["decoder_start_token_id"], 2);
}

/// A Gemma 3 with all rows, as small as can be, whose rows hold their own numbers. Its tokenizer has the token of parts
/// of an image.
fn with_all_rows() -> TempDir {
    const ROWS: usize = 262_208;
    let folder = copied(GEMMA3);
    edit(&folder.path().join("config.json"), |config| {
        for (field, value) in [
            ("hidden_size", json!(8)),
            ("num_hidden_layers", json!(1)),
            ("layer_types", json!(["full_attention"])),
            ("vocab_size", json!(ROWS)),
        ] {
            config[field] = value;
        }
    });
    edit(&folder.path().join("tokenizer.json"), |tokenizer| {
        let pieces = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        (pieces.len()..262_144).for_each(|id| drop(pieces.insert(format!("<unused{id}>"), json!(id))));
        let image = json!({"id": 262_144, "content": "<image_soft_token>", "single_word": false, "lstrip": false,
                           "rstrip": false, "normalized": false, "special": true});
        tokenizer["added_tokens"].as_array_mut().unwrap().push(image);
    });
    let bytes = fs::read(folder.path().join(TENSORS)).unwrap();
    let mut all: Vec<(String, Stored)> = Vec::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let (dtype, mut shape, _) = stored(&view);
        if name.contains(".layers.") && !name.contains(".layers.0.") {
            continue;
        }
        let is_table = name == "model.embed_tokens.weight";
        shape.iter_mut().filter(|size| **size == 32).for_each(|size| *size = 8);
        if is_table {
            shape[0] = ROWS;
        }
        let number = |index: usize| if is_table { index as f32 } else { 0.5 };
        let bytes = (0..shape.iter().product()).flat_map(|index| number(index).to_le_bytes()).collect();
        all.push((name, (dtype, shape, bytes)));
    }
    fs::write(folder.path().join(TENSORS), serialize(views(&all), None).unwrap()).unwrap();
    folder
}

#[test]
fn rows_beyond_those_of_a_t5gemma_2_are_cut_and_their_tokens_are_text() {
    let source = with_all_rows();
    let out = adapted(source.path(), source.path());
    let checkpoint = Checkpoint::open(out.path()).unwrap();
    let config = checkpoint.config();
    assert_eq!((config.encoder.vocab, config.decoder.vocab), (262_144, 262_144));
    assert_eq!(config.encoder.own_row_token, Some(256_000));
    let (table, last) = (checkpoint.tensor(TABLE).unwrap(), 262_143.0 * 8.0);
    let WeightPart::Stored { rows: 262_144, cols: 8, dtype: DType::F32, bytes } = table.part() else {
        panic!("the table is stored as it was, but for its last rows")
    };
    assert_eq!(floats(&bytes[bytes.len() - 32..]), (0..8).map(|col| last + col as f32).collect::<Vec<_>>());
    let vector = floats(&tensors(out.path())[VECTOR].2);
    assert_eq!(vector[7], (256_000.0 * 8.0 + 7.0) * 8.0_f32.sqrt());
    let json = fs::read(out.path().join("tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::for_vocabulary(&json, config.decoder.vocab).unwrap();
    assert!(tokenizer.encode("a<image_soft_token>b").unwrap().iter().all(|id| *id < 512));
    let whole = Tokenizer::from_bytes(&json).unwrap();
    assert!(whole.encode("a<image_soft_token>b").unwrap().contains(&262_144));
    assert_ne!(whole.fingerprint(), tokenizer.fingerprint());
}

#[test]
fn adapted_checkpoints_load_in_transformers_and_compute_as_here() {
    let made = [adapted(&fixture::path(GEMMA3), &fixture::path(GEMMA3)), adapted_gguf()];
    let (source, target) = (&[2, 481, 373, 396, 344, 320, 331, 388, 439, 423, 355], &[2, 27, 372, 320]);
    let Some(answers) = fixture::transformers::ask(&made.each_ref().map(TempDir::path), source, target) else { return };
    for folder in &made {
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let logits = logits(&checkpoint, source, target);
        let answer = &answers[folder.path().to_str().unwrap()];
        assert_eq!(answer.architecture, "T5Gemma2ForConditionalGeneration");
        let theirs: Vec<f32> = answer.logits.iter().flatten().copied().collect();
        assert!(farthest(&logits, &theirs) <= 1e-3, "{}", farthest(&logits, &theirs));
    }
}
