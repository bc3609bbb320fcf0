//! Checkpoints in every layout that is published.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;
use std::path::Path;

use fixture::checkpoints::{TENSORS, contents, converted, copied, edit, rewritten, sharded, stored};
use kernels::{DType, WeightPart};
use model::{Checkpoint, TensorTable};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};

#[test]
fn the_tiny_checkpoints_open_and_give_the_stored_bytes() {
    for folder in fixture::FOLDERS {
        let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
        let bytes = fixture::bytes(&format!("{folder}/{TENSORS}"));
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = 0;
        for (name, shape) in TensorTable::new(checkpoint.config()).iter() {
            let WeightPart::Stored { rows, cols, dtype, bytes } = checkpoint.tensor(name) else { panic!("{name}") };
            assert_eq!((bytes, dtype), (stored.tensor(name).unwrap().data(), DType::F32), "{name}");
            assert_eq!((rows * cols, rows == 1), (shape.iter().product(), shape.len() == 1), "{name}");
            names += 1;
        }
        assert_eq!((names, checkpoint.tensor_bytes()), (stored.len(), 4 * checkpoint.config().parameters()));
    }
}

#[test]
fn the_demo_is_part_of_the_program() {
    let checkpoint = Checkpoint::embedded().unwrap();
    assert_eq!(checkpoint.config().parameters(), 5_119_872);
    assert_eq!(checkpoint.tensor_bytes(), 2 * 5_119_872);
    let WeightPart::Stored { rows, cols, dtype, .. } = checkpoint.tensor("model.encoder.embed_tokens.weight") else {
        panic!("stored");
    };
    assert_eq!((rows, cols, dtype), (4096, 192, DType::Bf16));
    assert!(checkpoint.tokenizer_json().unwrap().is_some());
    checkpoint.release("model.encoder.embed_tokens.weight");
}

#[test]
fn a_tensor_reads_the_same_after_its_memory_was_given_back() {
    let checkpoint = Checkpoint::open(&fixture::path("t5gemma-balanced")).unwrap();
    let before = contents(&checkpoint);
    for name in before.keys() {
        checkpoint.release(name);
    }
    assert_eq!(contents(&checkpoint), before);
}

/// What the system holds in memory of a mapped file, in bytes.
#[cfg(target_os = "linux")]
fn resident_bytes(path: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines().skip_while(|line| !line.ends_with(path.to_str().unwrap()));
    let resident = lines.find_map(|line| line.strip_prefix("Rss:")).expect("the file is mapped");
    1024 * resident.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn giving_back_every_tensor_leaves_nothing_of_the_file_in_memory() {
    let folder = copied("t5gemma-balanced");
    let path = folder.path().join(TENSORS);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let names: Vec<String> = contents(&checkpoint).into_keys().collect();
    assert!(resident_bytes(&path) > 600_000, "{}", resident_bytes(&path));
    for name in names {
        checkpoint.release(&name);
    }
    assert!(resident_bytes(&path) < 100_000, "{}", resident_bytes(&path));
}

#[test]
fn a_sharded_checkpoint_is_the_single_one() {
    for folder in fixture::FOLDERS {
        let single = Checkpoint::open(&fixture::path(folder)).unwrap();
        let sharded = sharded(folder);
        let sharded = Checkpoint::open(sharded.path()).unwrap();
        assert_eq!(contents(&sharded), contents(&single));
        assert_eq!((sharded.config(), sharded.tensor_bytes()), (single.config(), single.tensor_bytes()));
    }
}

#[test]
fn names_without_the_outer_prefix_are_the_same_tensors() {
    let folder = rewritten(|name, view| Some((name.strip_prefix("model.").unwrap_or(name).to_owned(), stored(view))));
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(contents(&checkpoint), contents(&Checkpoint::open(&fixture::path("t5gemma-balanced")).unwrap()));
}

#[test]
fn every_usable_number_type_is_handed_on_as_it_is_stored() {
    for (dtype, expected) in [(Dtype::F32, DType::F32), (Dtype::BF16, DType::Bf16), (Dtype::F16, DType::F16)] {
        let folder = rewritten(|name, view| Some((name.to_owned(), converted(view, dtype))));
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let parameters = checkpoint.config().parameters();
        assert_eq!(checkpoint.tensor_bytes(), parameters * expected.bytes() as u64);
        let WeightPart::Stored { dtype, .. } = checkpoint.tensor("model.decoder.norm.weight") else { panic!() };
        assert_eq!(dtype, expected);
    }
}

#[test]
fn an_output_table_counts_only_when_it_is_not_tied() {
    let output_table = "lm_head.out_proj.weight";
    let folder = copied("t5gemma-balanced");
    edit_config(folder.path(), |config| config["tie_word_embeddings"] = json!(false));
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("lm_head.out_proj.weight is missing"), "{message}");

    let bytes = fixture::bytes("t5gemma-balanced/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let table = tensors.tensor("model.decoder.embed_tokens.weight").unwrap();
    let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors();
    views.push((output_table.to_owned(), table.clone()));
    let folder = copied("t5gemma-balanced");
    fs::write(folder.path().join(TENSORS), serialize(views, None).unwrap()).unwrap();
    let tied = Checkpoint::open(folder.path()).unwrap();
    assert!(!contents(&tied).contains_key(output_table));
    edit_config(folder.path(), |config| config["tie_word_embeddings"] = json!(false));
    let untied = Checkpoint::open(folder.path()).unwrap();
    let WeightPart::Stored { bytes, .. } = untied.tensor(output_table) else { panic!() };
    assert_eq!(bytes, table.data());
}

#[test]
fn the_tokenizer_and_the_generation_config_may_be_absent() {
    let folder = copied("t5gemma-balanced");
    fs::remove_file(folder.path().join("generation_config.json")).unwrap();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert!(checkpoint.tokenizer_json().unwrap().is_none());
    fs::create_dir(folder.path().join("tokenizer.json")).unwrap();
    assert!(checkpoint.tokenizer_json().is_err());
}

fn edit_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    edit(&folder.join("config.json"), change);
}
