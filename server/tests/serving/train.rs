//! `server train` as a shell sees it: what it leaves behind, how it is stopped and goes on, what it says of mistakes.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::answer::PATIENCE;
use crate::process::{command, end, run};

const WORDS: [&str; 8] = ["You", "may", "copy", "the", "work", "under", "this", "License"];

/// A folder with rows, and runs beside them.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let rows = |from: usize, count: usize| {
            let mut rows = String::new();
            for row in from..from + count {
                let words: Vec<&str> = (0..3 + row % 5).map(|word| WORDS[(row * 5 + word * 3) % WORDS.len()]).collect();
                writeln!(rows, r#"{{"input": "{}", "target": "{}"}}"#, words.join(" "), words[0]).unwrap();
            }
            rows
        };
        std::fs::write(place.path("train.jsonl"), rows(0, 40)).unwrap();
        std::fs::write(place.path("valid.jsonl"), rows(40, 6)).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Settings of a run in the folder of this name; `change` makes them others.
    pub fn settings(&self, run: &str, change: impl FnOnce(String) -> String) -> PathBuf {
        let init = fixture("t5gemma-balanced");
        let text = format!(
            "out = '{run}'\nthreads = 1\n[model]\ninit = '{}'\ndropout = 0.1\n[objective]\nkind = 'seq2seq'\n\
             [data]\ntrain = ['train.jsonl']\nvalid = ['valid.jsonl']\nbatch_tokens = 60\n\
             [[stage]]\nsteps = 120\nlearning_rate = 1e-3\nwarmup_steps = 2\n\
             [validation]\nevery_steps = 40\nsamples = 2\nsample_tokens = 4\n",
            init.display()
        );
        let path = self.path(&format!("{run}.toml"));
        std::fs::write(&path, change(text)).unwrap();
        path
    }
}

/// A tiny checkpoint of the model's tests.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

pub fn train(settings: &Path) -> Output {
    run(&["train", "--config", settings.to_str().unwrap()])
}

pub fn finished(settings: &Path) -> (String, String) {
    let output = train(settings);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn started(settings: &Path) -> Child {
    let mut command = command(&["train", "--config", settings.to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal by its name, as `INT`.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

fn interrupt(child: &Child) {
    signal(child, "INT");
}

#[test]
fn a_run_that_is_interrupted_goes_on_and_ends_as_one_that_was_not() {
    let place = Place::new();
    let (unbroken, broken) = (place.settings("unbroken", |text| text), place.settings("broken", |text| text));
    let (said, _) = finished(&unbroken);
    assert!(said.contains("unbroken/final: trained for 120 steps\nserve it: server --model "), "{said}");

    let mut child = started(&broken);
    let start = Instant::now();
    let lines = || std::fs::read_to_string(place.path("broken/metrics.jsonl")).unwrap_or_default().lines().count();
    while lines() < 3 {
        assert!(start.elapsed() < PATIENCE, "no step is taken");
        std::thread::sleep(Duration::from_millis(1));
    }
    interrupt(&child);
    assert_eq!(end(&mut child).code(), Some(0));
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.ends_with(": stopped; the same command goes on from here\n"), "{said}");
    assert!(place.text("broken/report.html").contains("stopped after step"), "the report says so");
    assert!(!place.path("broken/final").exists());

    let (_, told) = finished(&broken);
    assert!(told.contains(", going on after step "), "{told}");
    let weights = |run: &str| std::fs::read(place.path(run).join("final/model.safetensors")).unwrap();
    assert!(weights("broken") == weights("unbroken"));
    assert_eq!(
        place.text("broken/metrics.jsonl").lines().count(),
        place.text("unbroken/metrics.jsonl").lines().count()
    );
}

#[test]
fn a_run_whose_terminal_ends_is_stopped_with_a_checkpoint_unless_that_is_to_be_ignored() {
    let place = Place::new();
    let lines = || std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default().lines().count();
    let wait_for = |count: usize| {
        let start = Instant::now();
        while lines() < count {
            assert!(start.elapsed() < PATIENCE, "no step is taken");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let settings = place.settings("run", |text| text.replace("steps = 120", "steps = 100000"));
    let script = "trap '' HUP; exec \"$0\" train --config \"$1\"";
    let server = command(&[]).get_program().to_owned();
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).arg(server).arg(&settings).stdin(Stdio::null()).stderr(Stdio::null());
    let mut ignoring = shell.spawn().unwrap();
    wait_for(1);
    signal(&ignoring, "HUP");
    wait_for(lines() + 3);
    signal(&ignoring, "TERM");
    assert_eq!(end(&mut ignoring).code(), Some(0));
    let taken = lines();

    let mut child = started(&settings);
    wait_for(taken + 1);
    signal(&child, "HUP");
    assert_eq!(end(&mut child).code(), Some(0));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("SIGHUP: the run ends after this step"), "{told}");
}

#[test]
fn a_label_that_is_named_twice_is_refused_before_anything_is_written() {
    let place = Place::new();
    let settings = place
        .settings("run", |text| text.replace("kind = 'seq2seq'", "kind = 'classify'\nlabels = ['x', 'y', 'z', 'x']"));
    let output = train(&settings);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("objective.labels names \"x\" twice"), "{line}");
    assert!(!place.path("run").exists());
}

#[test]
fn an_interrupt_while_rows_become_ids_ends_the_run_at_once() {
    let place = Place::new();
    let row = format!("{{\"input\": \"{}\", \"target\": \"a\"}}\n", WORDS.join(" ").repeat(20));
    std::fs::write(place.path("train.jsonl"), row.repeat(30_000)).unwrap();
    let mut child = started(&place.settings("run", |text| text));
    let start = Instant::now();
    // The lock is taken just before the first row is read.
    while !place.path("run/cache/lock").exists() {
        assert!(start.elapsed() < PATIENCE, "no cache is begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    interrupt(&child);
    assert_eq!(end(&mut child).code(), Some(0));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("ended before the first step"), "{told}");
    assert!(!place.path("run/metrics.jsonl").exists());
}

#[test]
fn a_run_leaves_its_metrics_its_settings_and_a_report_behind() {
    let place = Place::new();
    let (_, told) = finished(&place.settings("run", |text| text.replace("steps = 120", "steps = 8")));
    for part in [" parameters, 40 rows to train on, 6 to validate on, 8 steps", "step 1: loss ", "validation loss "] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Eight steps and a validation at the end.
    assert_eq!(place.text("run/metrics.jsonl").lines().count(), 9);
    let report = place.text("run/report.html");
    for part in ["finished after 8 steps", "<svg", "Samples at step 8", "kind = &quot;seq2seq&quot;"] {
        assert!(report.contains(part), "{part}");
    }
    let settings: toml::Table = place.text("run/settings.toml").parse().unwrap();
    assert_eq!(settings["data"]["accumulate"].as_integer(), Some(1), "defaults are written too");
    let train = settings["data"]["train"][0].as_str().unwrap();
    assert!(Path::new(train).is_absolute() && train.ends_with("train.jsonl"), "{train}");
}

#[test]
fn an_adapted_checkpoint_is_trained_and_served() {
    let place = Place::new();
    let source = |name: &str| fixture(name).to_str().unwrap().to_owned();
    let (encoder, decoder) = (source("gemma2-source-wide"), source("gemma2-source"));
    let adapted = place.path("adapted");
    let output = run(&["adapt", "--encoder", &encoder, "--decoder", &decoder, "--out", adapted.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let settings = place.settings("run", |text| {
        let init = text.lines().find(|line| line.starts_with("init = ")).unwrap().to_owned();
        let text = text.replace(&init, "init = 'adapted'").replace("steps = 120", "steps = 4");
        text.replace("threads = 1", "threads = 1\ncross_attention_warmup_steps = 2")
    });
    finished(&settings);
    let stages = place.text("run/metrics.jsonl").lines().map(|line| line.contains(r#""stage":0"#)).collect::<Vec<_>>();
    assert_eq!(stages.iter().filter(|is_warmup| **is_warmup).count(), 2, "{stages:?}");
    let model = place.path("run/final");
    let output = run(&["generate", "--model", model.to_str().unwrap(), "--max-tokens", "3", "You may"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_second_interrupt_ends_a_step_that_takes_too_long() {
    let place = Place::new();
    // More batches in a step than anyone waits for.
    let endless = place.settings("run", |text| text.replace("batch_tokens = 60", "accumulate = 1000000000"));
    let mut child = started(&endless);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("rows to train on")).expect("the run begins");
    interrupt(&child);
    lines.find(|line| line.contains("SIGINT: the run ends after this step")).expect("the signal is answered");
    interrupt(&child);
    assert_eq!(end(&mut child).code(), Some(130));
}

#[test]
fn settings_that_cannot_be_used_are_one_line_with_all_that_is_wrong_and_exit_2() {
    let place = Place::new();
    let settings = place.settings("run", |text| {
        text.replace("dropout", "dropuot").replace("'seq2seq'", "'translate'").replace("steps = 120", "steps = 'many'")
    });
    let output = train(&settings);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in
        ["run.toml cannot be used", "model.dropuot: unknown field", "unknown variant `translate`", "stage[0].steps"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!place.path("run").exists(), "nothing is written");

    let output = train(&place.path("nowhere.toml"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.toml"));
    let output = train(&place.settings("run", |text| text.replace("learning_rate = 1e-3", "learning_rate = -1.0")));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_malformed_row_ends_the_run_or_is_left_out_by_choice_with_its_file_and_line() {
    let place = Place::new();
    let rows = place.text("train.jsonl") + "{\"input\": 3}\n";
    std::fs::write(place.path("train.jsonl"), rows).unwrap();
    let few = |text: String| text.replace("steps = 120", "steps = 2");
    let output = train(&place.settings("fails", few));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("train.jsonl:41: "), "{output:?}");
    let skips = place.settings("skips", |text| few(text).replace("[data]\n", "[data]\nbad_rows = 'skip'\n"));
    let (_, told) = finished(&skips);
    assert!(told.contains("left out: ") && told.contains("train.jsonl:41: "), "{told}");
    assert!(told.contains("40 rows to train on"), "{told}");
}

#[test]
fn a_run_that_was_begun_otherwise_is_left_as_it_is() {
    let place = Place::new();
    let few = |text: String| text.replace("steps = 120", "steps = 2");
    finished(&place.settings("run", few));
    let settings = place.text("run/settings.toml");
    let output = train(&place.settings("run", |text| few(text).replace("dropout = 0.1", "dropout = 0.2")));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("begun with other settings") && line.contains("model.dropout: was 0.1"), "{line}");
    assert_eq!(place.text("run/settings.toml"), settings);
}
