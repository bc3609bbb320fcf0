//! A checkpoint is never in memory as a whole where it is copied. The only test of its process: it asks the system what
//! that holds.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;

use fixture::checkpoints::{TENSORS, copied, edit, rewrite, stored};
use model::{AdaptRequest, Adaptation};
use serde_json::json;
use tempfile::TempDir;

/// Memory of this process that is no file's, in bytes.
fn held_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the system counts it");
    1024 * held.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

#[test]
fn no_more_than_about_one_tensor_of_the_sources_is_in_memory() {
    let source = copied("gemma2-source");
    let path = source.path().join(TENSORS);
    let intermediate = 16_384;
    edit(&source.path().join("config.json"), |config| config["intermediate_size"] = json!(intermediate));
    rewrite(source.path(), |name, view| {
        let (dtype, mut shape, mut bytes) = stored(view);
        if name.contains(".mlp.") {
            shape.iter_mut().filter(|size| **size == 64).for_each(|size| *size = intermediate);
            bytes.resize(4 * shape.iter().product::<usize>(), 0);
        }
        Some((name.to_owned(), (dtype, shape, bytes)))
    });
    let (folder, out) = (source.path().to_owned(), TempDir::new().unwrap());
    let (encoder, decoder, out_path) = (folder.clone(), folder, out.path().to_owned());
    let request = AdaptRequest { encoder, decoder, tokenizer: None, out: out_path, seed: 1 };
    let before = held_bytes();
    let mut most = 0;
    Adaptation::prepare(request).unwrap().write(&mut |_| most = most.max(held_bytes())).unwrap();
    let (held, whole) = (most.saturating_sub(before), 2 * fs::metadata(&path).unwrap().len() as usize);
    assert!(held < whole / 8, "{held} of {whole}");
}
