//! Checkpoints in every layout that is published.

use crate::fixture;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::fixture::checkpoints::{TENSORS, contents, converted, copied, edit, rewritten, sharded, stored};
use kernels::cpu::{Cpu, Isa};
use kernels::{DType, Precision, Scheme, WeightPart};
use model::{Checkpoint, Error, Model, PositionLimits, TensorTable, quantize};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn the_tiny_checkpoints_open_and_give_the_stored_bytes() {
    for folder in fixture::FOLDERS {
        let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
        let bytes = fixture::bytes(&format!("{folder}/{TENSORS}"));
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = 0;
        for (name, shape) in TensorTable::new(checkpoint.config()).iter() {
            let tensor = checkpoint.tensor(name).unwrap();
            let WeightPart::Stored { rows, cols, dtype, bytes } = tensor.part() else { panic!("{name}") };
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
    let tensor = checkpoint.tensor("model.encoder.embed_tokens.weight").unwrap();
    let WeightPart::Stored { rows, cols, dtype, .. } = tensor.part() else { panic!("stored") };
    assert_eq!((rows, cols, dtype), (4096, 192, DType::Bf16));
    assert!(checkpoint.tokenizer_json().unwrap().is_some());
}

/// Writes numbers over a file's last ones, and sets the time at which that was.
fn overwrite(path: &Path) {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::End(-4)).unwrap();
    file.write_all(&1.0_f32.to_le_bytes()).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(10)).unwrap();
}

#[test]
fn a_file_that_is_cut_or_rewritten_while_it_is_read_is_an_error_that_names_it() {
    let change: [fn(&Path); 3] = [
        |path| fs::File::options().write(true).open(path).unwrap().set_len(20_000).unwrap(),
        |path| fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap(),
        overwrite,
    ];
    for change in change {
        let folder = copied("t5gemma-balanced");
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.tensor("model.decoder.embed_tokens.weight").unwrap();
        change(&folder.path().join(TENSORS));
        for (name, _) in TensorTable::new(checkpoint.config()).iter() {
            let error = checkpoint.tensor(name).unwrap_err();
            assert!(matches!(&error, Error::Changed { path } if path.ends_with(TENSORS)), "{error}");
        }
        let loaded = Model::load(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, &mut |_| ());
        assert!(matches!(loaded, Err(Error::Changed { .. })));
        let out = TempDir::new().unwrap();
        let quantised = quantize(&checkpoint, Scheme::Int8, out.path(), &mut |_| ());
        assert!(matches!(quantised, Err(Error::Changed { .. })), "{quantised:?}");
    }
}

#[test]
fn a_file_that_another_one_replaces_is_read_as_it_was() {
    let folder = copied("t5gemma-balanced");
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let before = contents(&checkpoint);
    fs::write(folder.path().join("new"), "not a checkpoint").unwrap();
    fs::rename(folder.path().join("new"), folder.path().join(TENSORS)).unwrap();
    assert_eq!(contents(&checkpoint), before);
}

#[test]
fn sequences_can_be_limited_and_are_never_made_longer() {
    let mut checkpoint = Checkpoint::open(&fixture::path("t5gemma-balanced")).unwrap();
    let made_for = checkpoint.config().encoder.max_positions;
    let mut limited = |source_tokens, target_tokens| {
        checkpoint.limit_positions(PositionLimits { source_tokens, target_tokens });
        (checkpoint.config().encoder.max_positions, checkpoint.config().decoder.max_positions)
    };
    assert_eq!(limited(made_for + 1, 20), (made_for, 20));
    assert_eq!(limited(10, 30), (10, 20));
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
        let tensor = checkpoint.tensor("model.decoder.norm.weight").unwrap();
        let WeightPart::Stored { dtype, .. } = tensor.part() else { panic!() };
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
    let tensor = untied.tensor(output_table).unwrap();
    let WeightPart::Stored { bytes, .. } = tensor.part() else { panic!() };
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
