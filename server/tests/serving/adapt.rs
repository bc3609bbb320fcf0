//! `server adapt`: what it makes is served, and what it refuses.

use std::path::{Path, PathBuf};

use crate::process::{command, complaint, run};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A tiny decoder-only checkpoint.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

fn adapt(encoder: &str, out: &Path) -> String {
    let (encoder, decoder) = (source(encoder), source("gemma2-source"));
    let output = run(&["adapt", "--encoder", text(&encoder), "--decoder", text(&decoder), "--out", text(out)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_adapted_checkpoint_is_described_and_served() {
    let place = tempfile::tempdir().unwrap();
    for (encoder, of_cross_attention) in [
        ("gemma2-source", "copied, with cross-attention copied from self-attention"),
        ("gemma2-source-wide", "copied, 24 of cross-attention drawn with seed 1"),
    ] {
        let out = place.path().join(encoder);
        let said = adapt(encoder, &out);
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[0].starts_with(&format!("{}: ", text(&out))), "{said}");
        assert!(lines[0].contains(" parameters, ") && lines[0].ends_with(of_cross_attention), "{said}");
        assert!(lines[1].contains("server train --config train.toml"), "{said}");
        let output = run(&["generate", "--model", text(&out), "--max-tokens", "4", "This License"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn sources_may_be_ids_of_the_hub() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("hub/models--org--gemma");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), commit).unwrap();
    std::fs::create_dir_all(repository.join("snapshots")).unwrap();
    std::os::unix::fs::symlink(
        source("gemma2-source").canonicalize().unwrap(),
        repository.join("snapshots").join(commit),
    )
    .unwrap();
    let out = home.path().join("out");
    let mut adapt = command(&["adapt", "--encoder", "org/gemma", "--decoder", "org/gemma@main", "--out", text(&out)]);
    let output = adapt.env("HF_HOME", home.path()).env("HF_HUB_OFFLINE", "1").env_remove("HF_HUB_CACHE").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(out.join("model.safetensors").is_file());
    let mut missing = command(&["adapt", "--encoder", "org/none", "--decoder", "org/gemma", "--out", text(&out)]);
    let output = missing.env("HF_HOME", home.path()).env("HF_HUB_OFFLINE", "1").env_remove("HF_HUB_CACHE").output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.starts_with("error: org/none is not in ") && said.contains("server pull org/none"), "{said}");
}

#[test]
fn the_same_command_gives_the_same_files() {
    let place = tempfile::tempdir().unwrap();
    let outs = ["first", "second"].map(|name| place.path().join(name));
    for out in &outs {
        adapt("gemma2-source-wide", out);
    }
    for name in
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    {
        let [first, second] = outs.each_ref().map(|out| std::fs::read(out.join(name)).unwrap());
        assert!(first == second, "{name}");
    }
}

#[test]
fn what_cannot_be_adapted_is_one_line_with_every_reason_and_exit_1() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("mine.txt"), "mine").unwrap();
    let other = source("t5gemma-balanced");
    let line = complaint(&["adapt", "--encoder", text(&other), "--decoder", "/nowhere", "--out", text(place.path())]);
    for part in ["only \"gemma2\" checkpoints", "/nowhere", "is not empty"] {
        assert!(line.contains(part), "{line}");
    }
}

/// A limit on the size of files stands in for a full disk: both end a write in the middle.
#[test]
fn a_disk_that_is_full_halfway_is_named_and_leaves_no_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let (out, source) = (place.path().join("out"), source("gemma2-source"));
    let server = command(&[]).get_program().to_owned();
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" adapt --encoder \"$1\" --decoder \"$1\" --out \"$2\"";
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", script]).arg(server).arg(&source).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    let partial = out.join("model.safetensors.partial");
    assert!(line.contains(&format!("cannot write {}", text(&partial))), "{line}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "nothing is left");
    adapt("gemma2-source", &out);
}
