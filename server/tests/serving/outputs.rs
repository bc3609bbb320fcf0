//! Output files of commands: a name that something else has is left alone, and leftovers of a killed command are no
//! obstacle.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::answer::PATIENCE;
use crate::process::{command, complaint, run};
use crate::train::{Place, fixture, train};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fifo(path: PathBuf) -> PathBuf {
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

fn is_fifo(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().file_type().is_fifo()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The end of a command that is told to write to `out`, as `arguments` say it.
fn refused(arguments: &[&str], out: &Path) -> String {
    let line = complaint(&[arguments, &[text(out)]].concat());
    assert!(line.contains(text(out)), "{line}");
    line
}

#[test]
fn a_fifo_or_a_file_that_a_command_should_write_a_folder_to_stays_what_it_is() {
    let place = tempfile::tempdir().unwrap();
    let (fifo, file) = (fifo(place.path().join("fifo")), place.path().join("file"));
    fs::write(&file, "mine").unwrap();
    let source = fixture("gemma2-source");
    for out in [&fifo, &file] {
        refused(&["quantize", "--scheme", "int8", "--out"], out);
        refused(&["adapt", "--encoder", text(&source), "--decoder", text(&source), "--out"], out);
        let runs = Place::new();
        let output =
            train(&runs.settings("run", |settings| settings.replace("out = 'run'", &format!("out = '{}'", text(out)))));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("it has to be a folder"), "{output:?}");
    }
    assert!(is_fifo(&fifo));
    assert_eq!(
        (fs::read_to_string(file).unwrap(), names(place.path())),
        ("mine".to_owned(), vec!["fifo".to_owned(), "file".to_owned()])
    );
}

#[test]
fn a_link_to_a_folder_is_written_through() {
    let place = tempfile::tempdir().unwrap();
    let (link, folder) = (place.path().join("link"), place.path().join("folder"));
    fs::create_dir(&folder).unwrap();
    symlink("folder", &link).unwrap();
    assert_eq!(run(&["quantize", "--scheme", "int8", "--out", text(&link)]).status.code(), Some(0));
    assert!(link.is_symlink() && folder.join("config.json").exists());
    let broken = place.path().join("broken");
    symlink("nowhere", &broken).unwrap();
    refused(&["quantize", "--scheme", "int8", "--out"], &broken);
    assert!(broken.is_symlink() && !place.path().join("nowhere").exists());
}

#[test]
fn predictions_go_through_a_link_and_replace_nothing_but_a_file() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("rows"), r#"{"text": "one two three"}"#).unwrap();
    fs::write(path("predictions"), "old").unwrap();
    symlink("predictions", path("link")).unwrap();
    symlink("nowhere", path("broken")).unwrap();
    let fifo = fifo(path("fifo"));
    let rows = path("rows");
    let arguments = ["eval", "--data", text(&rows), "--threads", "1", "--out"];
    assert_eq!(run(&[&arguments[..], &[text(&path("link"))]].concat()).status.code(), Some(0));
    assert!(path("link").is_symlink() && fs::read_to_string(path("predictions")).unwrap().starts_with("{\"line\":1"));
    let line = refused(&arguments, &fifo);
    assert!(line.trim_end().ends_with("it is a FIFO; it has to be a regular file"), "{line}");
    refused(&arguments, &path("broken"));
    assert_eq!(names(place.path()), ["broken", "fifo", "link", "predictions", "rows"]);
    assert!(is_fifo(&fifo) && path("broken").is_symlink());
}

#[test]
fn a_report_of_a_sweep_replaces_nothing_but_a_file() {
    let place = tempfile::tempdir().unwrap();
    let fifo = fifo(place.path().join("page.md"));
    let output = run(&["bench", "--sweep", "--report", text(&fifo)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is a FIFO"), "{output:?}");
    assert!(is_fifo(&fifo));
}

#[test]
fn data_that_cannot_be_read_twice_is_refused_without_waiting_for_it() {
    let place = Place::new();
    let fifo = fifo(place.path("rows.fifo"));
    for (data, kind) in [(fifo.as_path(), "a FIFO"), (Path::new("/dev/zero"), "a device")] {
        let line = complaint(&["eval", "--data", text(data)]);
        assert!(line.contains(text(data)) && line.contains(kind), "{line}");
        for key in ["train", "valid"] {
            let own = format!("{key} = ['{key}.jsonl']");
            let settings =
                place.settings("run", |settings| settings.replace(&own, &format!("{key} = ['{}']", text(data))));
            let output = train(&settings);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let line = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(line.contains(text(data)) && line.contains(kind), "{line}");
        }
    }
}

/// Kills a command while the tensors are written, then gives it again.
fn killed_and_given_again(place: &TempDir, arguments: &[&str]) {
    let out = place.path().join("out");
    let arguments = [arguments, &["--out", text(&out)]].concat();
    let mut child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !out.join("model.safetensors.partial").exists() {
        assert!(start.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "it is too late to kill it");
        std::thread::sleep(Duration::from_micros(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!out.join("config.json").exists(), "it is no checkpoint");
    // A file that somebody else put there is not taken for one of the command's.
    fs::write(out.join("mine"), "mine").unwrap();
    let line = complaint(&arguments);
    assert!(line.contains("is not empty"), "{line}");
    assert_eq!(fs::read_to_string(out.join("mine")).unwrap(), "mine");
    fs::remove_file(out.join("mine")).unwrap();
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let names = names(&out);
    assert!(!names.iter().any(|name| name.starts_with('.') || name.ends_with(".partial")), "{names:?}");
    assert!(names.contains(&"config.json".to_owned()));
}

#[test]
fn a_quantisation_that_was_killed_does_not_hinder_the_next() {
    let place = tempfile::tempdir().unwrap();
    killed_and_given_again(&place, &["quantize", "--scheme", "int4"]);
}

#[test]
fn an_adaptation_that_was_killed_does_not_hinder_the_next() {
    let place = tempfile::tempdir().unwrap();
    let source = fixture("gemma2-source");
    // Tensors that are drawn at random take long enough to be caught at.
    let wide = fixture("gemma2-source-wide");
    killed_and_given_again(&place, &["adapt", "--encoder", text(&wide), "--decoder", text(&source)]);
}
