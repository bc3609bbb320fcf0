//! `server adapt`: what it makes is served, and what it refuses.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::eval::{assert_near, data, evaluated};
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

/// A tiny Gemma 3, adapted with itself.
fn adapted_gemma3(out: &Path) -> String {
    let gemma3 = source("gemma3-source");
    let output = run(&["adapt", "--encoder", text(&gemma3), "--decoder", text(&gemma3), "--out", text(out)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The only text of the tiny Gemma 3, its tokens, and the logits of transformers after each of them.
fn gemma3_case() -> (String, Vec<usize>, Vec<Vec<f64>>) {
    let folder = source("gemma3-source");
    let cases: Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let ids: Vec<usize> = serde_json::from_value(cases[0]["input_ids"].clone()).unwrap();
    let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, view) = tensors.iter().find(|(name, _)| name.ends_with("logits")).unwrap();
    let logits: Vec<f64> =
        view.data().as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    let rows = logits.chunks(logits.len() / ids.len()).map(<[f64]>::to_vec).collect();
    (cases[0]["text"].as_str().unwrap().to_owned(), ids, rows)
}

#[test]
fn an_adapted_gemma_3_reads_and_continues_texts_without_a_source_as_before() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let said = adapted_gemma3(&out);
    assert!(said.contains("merged attention has the weights of self-attention"), "{said}");

    let (written, ids, logits) = gemma3_case();
    let rows = data(&place, [json!({"text": written})]);
    let figures = evaluated(&["--model", text(&out), "--data", &rows, "--objective", "causal"]);
    // The start token is no target, the end token is one.
    let targets = ids[1..].iter().copied().chain([1]);
    let surprise = |(row, target): (&Vec<f64>, usize)| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        largest + row.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln() - row[target]
    };
    let expected = logits.iter().zip(targets).map(surprise).sum::<f64>() / ids.len() as f64;
    assert_near(&figures, "loss", expected, 1e-3);
    assert_eq!(figures["target_tokens"], ids.len());

    let continued = |model: &Path| {
        run(&["generate", "--model", text(model), "--dtype", "f32", "--max-tokens", "1", "--continue", &written])
    };
    let output = continued(&out);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let best = logits.last().unwrap().iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).unwrap().0;
    let tokenizer = model::Tokenizer::from_file(&out.join("tokenizer.json")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", tokenizer.decode(&[best as u32])));
    let refused = continued(&source("t5gemma-balanced"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("the decoder of this model needs a source"));
    let message =
        complaint(&["eval", "--model", text(&source("t5gemma-balanced")), "--data", &rows, "--objective", "causal"]);
    assert!(message.contains("reads a source: choose --objective prefix_lm"), "{message}");
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
    for part in ["only \"gemma2 or gemma3\" checkpoints", "/nowhere", "is not empty"] {
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
