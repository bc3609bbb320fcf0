//! `server quantize`: its copies serve without the original, and what it refuses.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::demo::{folder, rows};
use crate::process::{ServerProcess, command, complaint, run};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The demo, quantised into a folder that was not there before.
fn quantized(place: &TempDir, scheme: &str) -> PathBuf {
    let out = place.path().join(scheme);
    let output = run(&["quantize", "--out", text(&out), "--scheme", scheme]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    out
}

fn generated(arguments: &[&str]) -> String {
    let output = run(&[&["generate"], arguments, &[rows()[2].input.as_str()]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_quantised_copy_answers_as_the_original_quantised_at_load() {
    let place = tempfile::tempdir().unwrap();
    for scheme in ["int8", "int4"] {
        let copy = quantized(&place, scheme);
        let bytes = |folder: &Path| std::fs::metadata(folder.join("model.safetensors")).unwrap().len();
        assert!(bytes(&copy) < bytes(&folder()));
        let expected = generated(&["--quantize", scheme]);
        assert_eq!(generated(&["--model", text(&copy)]), expected);
        assert_eq!(generated(&["--model", text(&copy), "--quantize", scheme]), expected);
    }
}

#[test]
fn a_folder_gives_the_copy_that_the_demo_gives() {
    let place = tempfile::tempdir().unwrap();
    let embedded = quantized(&place, "int8");
    let out = place.path().join("from a folder");
    let output = run(&["quantize", "--model", text(&folder()), "--out", text(&out), "--scheme", "int8"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for name in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"] {
        let read = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert!(read(&embedded) == read(&out), "{name}");
    }
}

#[test]
fn the_start_message_names_the_scheme() {
    let place = tempfile::tempdir().unwrap();
    let copy = quantized(&place, "int4");
    let server = ServerProcess::start(&["--model", text(&copy), "--threads", "1"]);
    assert!(server.message.iter().any(|line| line.contains(" arithmetic=int4 device=\"cpu")), "{:?}", server.message);
    let server = ServerProcess::start(&["--quantize", "int8", "--threads", "1"]);
    assert!(server.message.iter().any(|line| line.contains(" arithmetic=int8 device=\"cpu")), "{:?}", server.message);
}

#[test]
fn what_cannot_be_quantised_is_one_clear_line_and_exit_1() {
    let place = tempfile::tempdir().unwrap();
    let copy = quantized(&place, "int8");
    let again = ["quantize", "--model", text(&copy), "--scheme", "int4", "--out"];
    let line = complaint(&[&again[..], &[text(&place.path().join("again"))]].concat());
    assert!(line.contains("quantised to int8 already: quantise the original"), "{line}");
    let line = complaint(&["quantize", "--scheme", "int8", "--out", text(&copy)]);
    assert!(line.contains(text(&copy)) && line.contains("is not empty"), "{line}");
    let line = complaint(&["quantize", "--scheme", "int8", "--out", "/proc/nowhere"]);
    assert!(line.contains("/proc/nowhere"), "{line}");
    let line = complaint(&["quantize", "--model", "/nowhere/at/all", "--scheme", "int8", "--out", "x"]);
    assert!(line.contains("/nowhere/at/all"), "{line}");
}

#[test]
fn a_quantised_checkpoint_in_another_scheme_is_one_clear_line_and_exit_1() {
    let place = tempfile::tempdir().unwrap();
    let copy = quantized(&place, "int8");
    for quantize in ["none", "int4"] {
        for command in ["generate", "bench"] {
            let line = complaint(&[command, "--model", text(&copy), "--quantize", quantize]);
            assert!(line.contains("is quantised to int8: leave --quantize away"), "{line}");
        }
    }
}

/// A limit on the size of files stands in for a full disk: both end a write in the middle.
#[test]
fn a_disk_that_is_full_halfway_is_named_and_leaves_no_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("int8");
    let server = command(&[]).get_program().to_owned();
    let script = "trap '' XFSZ; ulimit -f 4000; exec \"$0\" quantize --out \"$1\" --scheme int8";
    let output = std::process::Command::new("sh").args(["-c", script]).arg(server).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    let partial = out.join("model.safetensors.partial");
    assert!(line.contains(&format!("cannot write {}", text(&partial))), "{line}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "nothing is left");
    assert_eq!(quantized(&place, "int8"), out, "the same command may be given again");
}

#[test]
fn a_sweep_of_a_copy_is_told_what_can_be_measured() {
    let place = tempfile::tempdir().unwrap();
    let copy = quantized(&place, "int8");
    let page = place.path().join("page.md");
    // Its table is begun by then: only the complaint is looked at.
    let output = run(&["bench", "--sweep", "--model", text(&copy), "--report", text(&page)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is quantised to int8: a sweep needs the original checkpoint; `server bench`"), "{said}");
    assert!(!said.contains("--quantize") && !page.exists(), "{said}");
}
