//! A run in a folder of its own, with what it tells.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use model::training::{Observer, Outcome, Record, Result, Settings, StepRecord, ValidationRecord, metrics, train};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture;

/// Texts for the rows, of different lengths.
const WORDS: [&str; 12] =
    ["You", "may", "copy", "and", "distribute", "the", "work", "under", "this", "License", "names", "of"];

/// Settings and files of a run.
pub struct Trial {
    folder: TempDir,
    pub settings: Value,
}

/// Records what a run reports, and stops or fails it where the test asks for it.
#[derive(Default)]
pub struct Watcher<'a> {
    pub steps: Vec<StepRecord>,
    pub validations: Vec<ValidationRecord>,
    pub saved: Vec<PathBuf>,
    pub notes: Vec<String>,
    pub skipped_rows: Vec<String>,
    /// The process dies after this step, before anything else is done for it.
    dies_after: Option<u64>,
    /// Ctrl-C is pressed in this step.
    stops_after: Option<(u64, &'a AtomicBool)>,
}

impl Observer for Watcher<'_> {
    fn step(&mut self, record: &StepRecord) {
        self.steps.push(record.clone());
        if self.dies_after == Some(record.step) {
            // Unlike a panic, this writes nothing to the test's output.
            std::panic::resume_unwind(Box::new("killed"));
        }
        if let Some((step, stop)) = self.stops_after {
            stop.store(record.step == step, Ordering::Relaxed);
        }
    }

    fn validated(&mut self, record: &ValidationRecord) {
        self.validations.push(record.clone());
    }

    fn saved(&mut self, folder: &Path) {
        self.saved.push(folder.to_owned());
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    fn row_skipped(&mut self, problem: &model::training::Error) {
        self.skipped_rows.push(problem.to_string());
    }
}

impl Trial {
    /// Six steps of seq2seq from the balanced fixture, a checkpoint every second step.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trial = Self { folder, settings: Value::Null };
        let path = |name: &str| trial.path(name).to_str().unwrap().to_owned();
        let settings = json!({
            "out": path("run"),
            "threads": 1,
            "model": { "init": fixture::path("t5gemma-balanced").to_str().unwrap() },
            "objective": { "kind": "seq2seq" },
            "data": { "train": [path("train.jsonl")], "batch_tokens": 60, "max_source_tokens": 24,
                "max_target_tokens": 12, "max_text_tokens": 24 },
            "stage": [{ "steps": 6, "learning_rate": 1e-3, "schedule": "linear", "warmup_steps": 2 }],
            "checkpoints": { "every_steps": 2, "keep": 9 },
        });
        trial.write_rows("train.jsonl", 24);
        trial.write_rows("valid.jsonl", 5);
        Self { settings, ..trial }
    }

    /// A trial with the settings at some keys (such as `model.dropout`) replaced.
    pub fn with(changes: &[(&str, Value)]) -> Self {
        let mut trial = Self::new();
        changes.iter().for_each(|(key, value)| trial.set(key, value.clone()));
        trial
    }

    /// Everything at once that a resumed run could get wrong: two stages, dropout, denoising, several batches a step,
    /// two passes over the data, validation.
    pub fn of_everything() -> Self {
        let valid = |trial: &Self| json!([trial.path("valid.jsonl")]);
        let mut trial = Self::with(&[
            ("threads", json!(2)),
            (
                "objective",
                json!({ "kind": "ul2", "mode_tokens": [],
                "sentinels": ["<0x00>", "<0x01>", "<0x02>", "<0x03>"] }),
            ),
            ("model.dropout", json!(0.1)),
            ("model.attention_dropout", json!(0.1)),
            ("data.accumulate", json!(3)),
            ("optimizer.skip_loss_factor", json!(1.5)),
            ("cross_attention_warmup_steps", json!(2)),
            ("validation", json!({ "every_steps": 3, "samples": 1, "sample_tokens": 3 })),
        ]);
        trial.settings["data"]["valid"] = valid(&trial);
        trial
    }

    pub fn set(&mut self, key: &str, value: Value) {
        let pointer = format!("/{}", key.replace('.', "/"));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        if self.settings.pointer(parent).is_none() {
            self.settings[parent.trim_start_matches('/')] = json!({});
        }
        self.settings.pointer_mut(parent).unwrap()[name] = value;
    }

    /// Rows with all that any objective reads of them are too much for one file: texts for `ul2`, pairs for others.
    fn write_rows(&self, name: &str, count: usize) {
        let text = |row: usize, words: usize| {
            (0..words).map(|word| WORDS[(row * 5 + word * 7 + row * word) % WORDS.len()]).collect::<Vec<_>>().join(" ")
        };
        let line = |row: usize| {
            let label = ["odd", "even", "third"][row % 3];
            let (words, target) = (2 + row % 5, text(row + 1, 1 + row % 3));
            json!({ "text": text(row, 2 + words), "input": text(row, words), "target": target, "label": label })
        };
        let lines: String = (0..count).map(|row| format!("{}\n", line(row))).collect();
        fs::write(self.path(name), lines).unwrap();
    }

    /// Pairs whose target is the first word of the source.
    pub fn write_first_words(&self, name: &str, rows: Range<usize>) {
        let word =
            |row: usize, at: usize| WORDS[kernels::math::philox(7, [row as u32, at as u32, 0, 0])[0] as usize % 12];
        let line = |row: usize| {
            let words: Vec<&str> = (0..3 + row % 5).map(|at| word(row, at)).collect();
            json!({ "input": words.join(" "), "target": words[0] })
        };
        let lines: String = rows.map(|row| format!("{}\n", line(row))).collect();
        fs::write(self.path(name), lines).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn out(&self) -> PathBuf {
        self.settings["out"].as_str().unwrap().into()
    }

    pub fn settings(&self) -> Settings {
        serde_json::from_value(self.settings.clone()).unwrap()
    }

    pub fn train(&self, watcher: &mut Watcher<'_>) -> Result<Outcome> {
        train(&self.settings(), &AtomicBool::new(false), watcher)
    }

    /// Trains to the end.
    pub fn finish<'a>(&self) -> Watcher<'a> {
        let mut watcher = Watcher::default();
        let outcome = self.train(&mut watcher).unwrap();
        assert!(matches!(outcome, Outcome::Finished { .. }), "{outcome:?}");
        watcher
    }

    /// Trains until the process dies, right after a step.
    pub fn kill_after(&self, step: u64) {
        let mut watcher = Watcher { dies_after: Some(step), ..Watcher::default() };
        let killed = catch_unwind(AssertUnwindSafe(|| self.train(&mut watcher)));
        assert!(killed.is_err(), "there was no step {step}");
    }

    /// Trains until Ctrl-C, pressed in a step.
    pub fn stop_in(&self, step: u64) -> Outcome {
        let stop = AtomicBool::new(false);
        let mut watcher = Watcher { stops_after: Some((step, &stop)), ..Watcher::default() };
        train(&self.settings(), &stop, &mut watcher).unwrap()
    }

    pub fn error(&self) -> String {
        self.train(&mut Watcher::default()).unwrap_err().to_string()
    }

    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.out().join(format!("checkpoints/step-{step:08}"))
    }

    /// Names in the folder of checkpoints.
    pub fn checkpoints(&self) -> Vec<String> {
        names(&self.out().join("checkpoints"))
    }

    /// The metrics' steps, and the steps of validations.
    pub fn metrics(&self) -> (Vec<StepRecord>, Vec<ValidationRecord>) {
        let (mut steps, mut validations) = (Vec::new(), Vec::new());
        for record in metrics::read(&self.out()).unwrap() {
            match record {
                Record::Step(step) => steps.push(step),
                Record::Validation(validation) => validations.push(validation),
            }
        }
        (steps, validations)
    }
}

impl Watcher<'_> {
    pub fn losses(&self) -> Vec<f64> {
        self.steps.iter().map(|step| step.loss).collect()
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// The bytes of every tensor of a file.
pub fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, tensor)| (name, tensor.data().to_vec())).collect()
}

/// Everything in a checkpoint that is not a time.
pub fn contents(checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &String| {
        let bytes = fs::read(checkpoint.join(name)).unwrap();
        if name != "state.json" {
            return bytes;
        }
        let mut state: Value = serde_json::from_slice(&bytes).unwrap();
        state["elapsed_s"] = Value::Null;
        serde_json::to_vec(&state).unwrap()
    };
    names(checkpoint).into_iter().map(|name| (name.clone(), read(&name))).collect()
}
