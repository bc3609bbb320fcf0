//! The files of tensors: the header of a safetensors file, and the index of a checkpoint in several files.

use std::cell::OnceCell;
use std::fs;
use std::time::Duration;

use model::Checkpoint;
use tempfile::TempDir;

use crate::seeds::{of_fixtures, repository};
use crate::target::Target;

/// `model.safetensors`, or the index of its shards, of a checkpoint that is fine otherwise.
pub const TENSORS: Target = Target { name: "tensors", seeds, parse, patience: Duration::from_secs(5) };

/// Bytes of data that seeds keep: a header is what is parsed, and mutations should meet it.
const DATA_BYTES: usize = 256;
const INDEX: &str =
    r#"{"metadata": {"total_size": 1}, "weight_map": {"model.decoder.norm.weight": "model.safetensors"}}"#;

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = of_fixtures("model.safetensors");
    seeds.truncate(2);
    for seed in &mut seeds {
        let length = u64::from_le_bytes(seed[..8].try_into().expect("eight bytes")) as usize;
        seed.truncate(8 + length + DATA_BYTES);
    }
    let small = br#"{"model.decoder.norm.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    seeds.push([&(small.len() as u64).to_le_bytes(), small.as_slice(), &[0; 8]].concat());
    seeds.push(INDEX.as_bytes().to_vec());
    seeds
}

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

fn parse(input: &[u8]) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let config = repository().join("model/tests/fixtures/t5gemma-balanced/config.json");
            fs::copy(config, folder.path().join("config.json")).expect("a fixture can be copied");
            folder
        });
        let (tensors, index) =
            (folder.path().join("model.safetensors"), folder.path().join("model.safetensors.index.json"));
        let write = |path, bytes: &[u8]| fs::write(path, bytes).expect("a temporary file can be written");
        // JSON is an index, everything else a file of tensors.
        if input.first() == Some(&b'{') {
            write(&index, input);
            let _ = Checkpoint::open(folder.path());
            fs::remove_file(&index).expect("it was just written");
        } else {
            write(&tensors, input);
            if let Ok(checkpoint) = Checkpoint::open(folder.path()) {
                let _ = (checkpoint.tensor("model.decoder.norm.weight"), checkpoint.tensor_bytes());
            }
        }
    });
}
