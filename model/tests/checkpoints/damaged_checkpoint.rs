//! Every broken checkpoint a user may have: a clear error each, never a panic.

use crate::fixture;
use std::fs;
use std::io::Write;
use std::path::Path;

use crate::fixture::checkpoints::{
    INDEX, SHARDS, TENSORS, converted, copied, edit, rewrite, rewritten, sharded, stored,
};
use half::{bf16, f16};
use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Scheme};
use model::training::{Network, NetworkOptions};
use model::{Checkpoint, Error, Model, TensorTable, Tokenizer, quantize};
use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn every_wrong_tensor_is_listed_at_once() {
    let folder = rewritten(|name, view| match name {
        "model.encoder.norm.weight" => None,
        "model.decoder.norm.weight" => {
            Some((name.to_owned(), (Dtype::I32, view.shape().to_vec(), view.data().to_vec())))
        }
        "model.decoder.layers.0.mlp.up_proj.weight" => {
            let shape = vec![view.shape()[1], view.shape()[0]];
            Some((name.to_owned(), (view.dtype(), shape, view.data().to_vec())))
        }
        _ => Some((name.to_owned(), stored(view))),
    });
    let error = open(folder.path());
    let message = error.to_string();
    for part in ["encoder.norm.weight is missing", "decoder.norm.weight is stored as I32", "up_proj.weight has shape"] {
        assert!(message.contains(part), "{message}");
    }
    let Error::Tensors { problems, .. } = error else { panic!("{message}") };
    assert_eq!(problems.len(), 3);
}

#[test]
fn a_long_list_of_problems_is_cut() {
    let folder = rewritten(|name, view| name.contains("encoder").then(|| (name.to_owned(), stored(view))));
    let message = open(folder.path()).to_string();
    assert_eq!(message.lines().count(), 22, "{message}");
    assert!(message.ends_with("more"), "{message}");
}

#[test]
fn a_damaged_file_is_named_with_what_is_wrong() {
    let whole = fixture::bytes("t5gemma-balanced/model.safetensors");
    let header_bytes = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let with_header = |header: Value| -> Vec<u8> {
        let header = header.to_string();
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &whole[8 + header_bytes..]].concat()
    };
    let header = || -> Value { serde_json::from_slice(&whole[8..8 + header_bytes]).unwrap() };
    let moved = |name: &str, offsets: Value| {
        let mut header = header();
        header[name]["data_offsets"] = offsets;
        with_header(header)
    };
    let norm = "model.decoder.norm.weight";
    let eighth = u64::MAX / 8;
    let huge: serde_json::Map<String, Value> = (0..8_u64)
        .map(|part| (part * eighth, (part + 1) * eighth))
        .map(|(start, end)| {
            (start.to_string(), json!({"dtype": "U8", "shape": [eighth], "data_offsets": [start, end]}))
        })
        .collect();
    let huger = json!({"x": {"dtype": "F64", "shape": [u64::MAX, 2], "data_offsets": [0, 8]}});
    let cases: [(&str, Vec<u8>, &str); 15] = [
        ("empty", Vec::new(), "empty"),
        ("seven bytes", whole[..7].to_vec(), "header"),
        ("cut in the header", whole[..1000].to_vec(), "header should take"),
        ("cut in the data", whole[..whole.len() - 1].to_vec(), "should end at byte"),
        ("a byte too many", [&whole[..], &[0]].concat(), "should end at byte"),
        ("absurd length", [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat(), "header should take"),
        ("length of zero", [&[0; 8], &whole[8..]].concat(), "unreadable"),
        ("flipped bits", [&whole[..8], &[whole[8] ^ 0x55], &whole[9..]].concat(), "unreadable"),
        ("no UTF-8", [&whole[..20], &[0xFF, 0xFE], &whole[22..]].concat(), "unreadable"),
        ("overlap", moved(norm, json!([0, 4])), "unreadable"),
        ("beyond the end", moved(norm, json!([1_u64 << 40, (1_u64 << 40) + 256])), "unreadable"),
        ("backwards", moved(norm, json!([256, 0])), "unreadable"),
        ("huge", with_header(huge.into()), "should end at byte"),
        ("overflowing", with_header(huger), "unreadable"),
        ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(), "Git LFS"),
    ];
    let folder = copied("t5gemma-balanced");
    for (name, bytes, reason) in cases {
        fs::write(folder.path().join(TENSORS), bytes).unwrap();
        let error = open(folder.path());
        let message = error.to_string();
        assert!(matches!(error, Error::Damaged { .. }), "{name}: {message}");
        assert!(message.contains(TENSORS) && message.contains(reason), "{name}: {message}");
    }
}

#[test]
fn what_lies_under_the_name_of_a_safetensors_file_is_told() {
    let cases: [(&[u8], &str); 7] = [
        (b"<!DOCTYPE html>\n<html><body>Access is restricted</body></html>", "is a web page (HTML), not safetensors"),
        (b"\xEF\xBB\xBF  <HTML>...", "is a web page"),
        (b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl", "is a zip archive, as torch.save writes it"),
        (b"\x80\x02}q\x00X\x05\x00\x00\x00model", "is a pickle, as torch.save writes it"),
        (b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}", "is a pickle"),
        (b"GGUF\x03\x00\x00\x00\x23\x01\x00\x00", "is a GGUF file"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "is compressed with gzip"),
    ];
    let folder = copied("t5gemma-balanced");
    for (bytes, words) in cases {
        fs::write(folder.path().join(TENSORS), bytes).unwrap();
        let error = open(folder.path());
        assert!(matches!(error, Error::OtherFormat { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{TENSORS} {words}")), "{error}");
    }
}

#[test]
fn a_header_longer_than_any_is_refused_before_it_is_read() {
    let folder = copied("t5gemma-balanced");
    let file = fs::File::create(folder.path().join(TENSORS)).unwrap();
    (&file).write_all(&(1_u64 << 30).to_le_bytes()).unwrap();
    // A file with a hole takes no room.
    file.set_len(1 << 31).unwrap();
    let message = open(folder.path()).to_string();
    assert!(message.contains("header should take 1073741824 bytes") && message.contains("16777216"), "{message}");
}

#[test]
fn files_larger_than_their_kind_may_be_are_refused_before_they_are_read() {
    for (name, limit_bytes) in [("config.json", 4 << 20), ("generation_config.json", 4 << 20), (INDEX, 16 << 20)] {
        let folder = sharded("t5gemma-balanced");
        fs::File::create(folder.path().join(name)).unwrap().set_len(limit_bytes + 1).unwrap();
        let error = open(folder.path());
        let is_limit =
            |error: &Error| matches!(error, Error::FileTooLarge { limit_bytes: limit, .. } if *limit == limit_bytes);
        assert!(is_limit(&error) && error.to_string().contains(name), "{error}");
    }
    let folder = copied("t5gemma-balanced");
    let tokenizer = folder.path().join("tokenizer.json");
    fs::File::create(&tokenizer).unwrap().set_len(1 << 40).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap().tokenizer_json().unwrap_err();
    assert!(matches!(error, Error::FileTooLarge { .. }), "{error}");
    assert!(matches!(Tokenizer::from_file(&tokenizer), Err(Error::FileTooLarge { .. })));
    assert!(matches!(Tokenizer::from_file(Path::new("/dev/zero")), Err(Error::FileTooLarge { .. })));
}

#[test]
fn weights_that_are_no_numbers_are_refused_with_the_tensors_name() {
    let broken = "model.decoder.layers.1.mlp.up_proj.weight";
    for (dtype, number) in [
        (Dtype::F32, &f32::NAN.to_le_bytes()[..]),
        (Dtype::F32, &f32::INFINITY.to_le_bytes()),
        (Dtype::BF16, &bf16::NEG_INFINITY.to_le_bytes()),
        (Dtype::F16, &f16::NAN.to_le_bytes()),
    ] {
        let folder = rewritten(|name, view| {
            let (dtype, shape, mut bytes) = converted(view, dtype);
            if name == broken {
                let last = bytes.len() - number.len();
                bytes[last..].copy_from_slice(number);
            }
            Some((name.to_owned(), (dtype, shape, bytes)))
        });
        let names = |error: &Error| matches!(error, Error::NotFinite { tensor, .. } if tensor == broken);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let loaded = Model::load(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, &mut |_| ());
        assert!(loaded.is_err_and(|error| names(&error)), "{dtype}");
        let out = TempDir::new().unwrap();
        assert!(quantize(&checkpoint, Scheme::Int8, out.path(), &mut |_| ()).is_err_and(|error| names(&error)));
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
        let message = Network::open(folder.path(), &NetworkOptions::default()).unwrap_err().to_string();
        assert!(message.contains(broken) && message.contains("NaN or infinite"), "{message}");
    }
}

#[test]
fn scales_that_are_no_numbers_are_refused_with_the_tensors_name() {
    let (copy, weight) = (TempDir::new().unwrap(), "model.decoder.layers.1.mlp.up_proj.weight");
    let source = Checkpoint::open(&fixture::path("t5gemma-balanced")).unwrap();
    quantize(&source, Scheme::Int8, copy.path(), &mut |_| ()).unwrap();
    rewrite(copy.path(), |name, view| {
        let (dtype, shape, mut bytes) = stored(view);
        if name == format!("{weight}_scale") {
            bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        Some((name.to_owned(), (dtype, shape, bytes)))
    });
    let error = Checkpoint::open(copy.path()).unwrap().tensor(weight).unwrap_err();
    assert!(matches!(&error, Error::NotFinite { tensor, .. } if tensor == weight), "{error}");
}

#[test]
fn what_is_no_checkpoint_is_said_so() {
    let empty = TempDir::new().unwrap();
    assert!(open(empty.path()).to_string().contains("holds no config.json"));
    assert!(matches!(open(&empty.path().join("nowhere")), Error::File { .. }));
    let file = fixture::path("t5gemma-balanced/config.json");
    assert!(open(&file).to_string().ends_with("is not a folder"));

    let folder = copied("t5gemma-balanced");
    fs::remove_file(folder.path().join(TENSORS)).unwrap();
    assert!(open(folder.path()).to_string().contains("holds no model.safetensors or"));
    fs::create_dir(folder.path().join(TENSORS)).unwrap();
    let message = open(folder.path()).to_string();
    assert!(message.contains(TENSORS) && message.ends_with("is not a regular file"), "{message}");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    fs::create_dir(folder.path().join("config.json")).unwrap();
    assert!(matches!(open(folder.path()), Error::WrongKind { .. }));
}

#[test]
fn missing_shards_are_named() {
    let folder = sharded("t5gemma-balanced");
    fs::remove_file(folder.path().join(SHARDS[0])).unwrap();
    fs::remove_file(folder.path().join(SHARDS[2])).unwrap();
    let message = open(folder.path()).to_string();
    assert!(message.contains(SHARDS[0]) && message.contains(SHARDS[2]) && !message.contains(SHARDS[1]), "{message}");
}

#[test]
fn a_shard_outside_the_folder_is_refused() {
    for name in ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ".", "", "./x", "x/"] {
        let folder = sharded("t5gemma-balanced");
        edit(&folder.path().join(INDEX), |index| index["weight_map"]["model.encoder.norm.weight"] = json!(name));
        assert!(matches!(open(folder.path()), Error::ShardOutside { shard, .. } if shard == name), "{name:?}");
    }
}

#[test]
fn an_index_that_does_not_match_its_shards_is_refused() {
    let folder = sharded("t5gemma-balanced");
    let index = folder.path().join(INDEX);
    let norm = "model.encoder.norm.weight";
    edit(&index, |index| {
        let weight_map = index["weight_map"].as_object_mut().unwrap();
        let here = SHARDS.iter().position(|shard| weight_map[norm] == *shard).unwrap();
        weight_map[norm] = json!(SHARDS[(here + 1) % SHARDS.len()]);
    });
    let message = open(folder.path()).to_string();
    assert!(message.contains("encoder.norm.weight is missing from model-0000"), "{message}");
    edit(&index, |index| index["weight_map"] = json!({}));
    assert!(matches!(open(folder.path()), Error::Tensors { .. }));
    for text in ["", "[]", "{}", "{\"weight_map\": {\"x\": 3}}"] {
        fs::write(&index, text).unwrap();
        assert!(matches!(open(folder.path()), Error::Json { path, .. } if path == index), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let folder = copied("t5gemma-balanced");
    let path = folder.path().join(TENSORS);
    fs::remove_file(&path).unwrap();
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    assert!(matches!(open(folder.path()), Error::WrongKind { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a file, it opens or it is refused, and what opens can be read whole.
    #[test]
    fn a_randomly_damaged_file_never_panics(
        flips in prop::collection::vec((0_usize..13_096, 0_u8..8), 0..4),
        keep in prop_oneof![Just(usize::MAX), 0_usize..20_000, 0_usize..641_064],
    ) {
        let mut bytes = fixture::bytes("t5gemma-balanced/model.safetensors");
        for (place, bit) in flips {
            bytes[place] ^= 1 << bit;
        }
        bytes.truncate(keep);
        let folder = copied("t5gemma-balanced");
        fs::write(folder.path().join(TENSORS), bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(folder.path()) {
            for (name, _) in TensorTable::new(checkpoint.config()).iter() {
                let read = checkpoint.tensor(name);
                prop_assert!(matches!(read, Ok(_) | Err(Error::NotFinite { .. })), "{name}: {read:?}");
            }
        }
    }
}

fn open(folder: &Path) -> Error {
    match Checkpoint::open(folder) {
        Ok(_) => panic!("{} opened", folder.display()),
        Err(error) => error,
    }
}
