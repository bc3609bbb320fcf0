//! Shows the progress of a run: a bar on a terminal, plain lines elsewhere, and files in the run's folder.
//!
//! Called by the run at each step. A file that cannot be written is reported once, and the run goes on.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use model::OutFile;
use model::training::data::CacheProgress;
use model::training::{Error, Observer, Prepared, StepRecord, ValidationRecord, metrics};

use super::report::{Page, duration};
use super::stopping::Stopping;
use crate::process::terminal::say;

/// Name of the file with the run's configuration, in the run's folder.
const SETTINGS: &str = "settings.toml";
/// Time between two plain lines about steps.
const LINES_EVERY: Duration = Duration::from_secs(10);
/// Most malformed rows that are shown; the others are counted.
const SHOWN_ROWS: u64 = 20;

/// Observer of a run.
pub(super) struct Watcher {
    run: PathBuf,
    settings: String,
    stopping: Arc<Stopping>,
    prepared: Option<Prepared>,
    bar: Option<ProgressBar>,
    is_terminal: bool,
    said: Option<Instant>,
    began: Option<(Instant, u64)>,
    skipped_rows: u64,
    has_complained: bool,
}

impl Watcher {
    /// An observer of the run in folder `run`, with its settings as TOML. It sets `stopping.begun` at the first step.
    pub fn new(run: &Path, settings: String, stopping: Arc<Stopping>) -> Self {
        Self {
            run: run.to_owned(),
            settings,
            stopping,
            prepared: None,
            bar: None,
            is_terminal: stderr().is_terminal(),
            said: None,
            began: None,
            skipped_rows: 0,
            has_complained: false,
        }
    }

    /// Removes the bar, shows how many rows were left out, and writes the report a last time.
    pub fn finish(&mut self, state: &str) {
        self.take_bar_away();
        if self.skipped_rows > SHOWN_ROWS {
            self.say(&format!("{} rows were left out", self.skipped_rows));
        }
        self.write_report(state);
    }

    fn write_report(&mut self, state: &str) {
        let Some(prepared) = &self.prepared else { return };
        let records = match metrics::read(&self.run) {
            Ok(records) => records,
            Err(error) => return self.complain(&error.to_string()),
        };
        let page = Page { run: &self.run, state, prepared, records: &records, settings: &self.settings };
        if let Err(error) = page.write() {
            self.complain(&format!("cannot write {}: {error}", page.path().display()));
        }
    }

    fn write_settings(&mut self) {
        let path = self.run.join(SETTINGS);
        if let Err(error) = OutFile::replace(&path, self.settings.as_bytes()) {
            self.complain(&format!("cannot write {}: {error}", path.display()));
        }
    }

    /// Shows a problem once: a full disk would be reported at every validation.
    fn complain(&mut self, problem: &str) {
        if !self.has_complained {
            self.has_complained = true;
            self.say(problem);
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn show_bar(&mut self, total: u64, template: &'static str) {
        self.take_bar_away();
        if self.is_terminal {
            let style = ProgressStyle::with_template(template).expect("the template names only fields that a bar has");
            self.bar = Some(ProgressBar::new(total).with_style(style));
        }
    }

    fn take_bar_away(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Whether another plain line is due.
    fn is_due(&mut self) -> bool {
        let is_due = self.said.is_none_or(|said| said.elapsed() >= LINES_EVERY);
        if is_due {
            self.said = Some(Instant::now());
        }
        is_due
    }

    /// Estimated seconds until the last step, from the steps since this process began.
    fn left_s(&self, step: u64) -> Option<f64> {
        let ((began, done), prepared) = self.began.zip(self.prepared.as_ref())?;
        let taken = step.checked_sub(done).filter(|taken| *taken > 0)?;
        Some(began.elapsed().as_secs_f64() / taken as f64 * prepared.total_steps.saturating_sub(step) as f64)
    }
}

impl Observer for Watcher {
    fn prepared(&mut self, run: &Prepared) {
        self.stopping.begun.store(true, Ordering::Relaxed);
        let Prepared { done_steps, total_steps, parameters, train_rows, valid_rows } = *run;
        self.take_bar_away();
        let again = if done_steps > 0 { format!(", going on after step {done_steps}") } else { String::new() };
        self.say(&format!(
            "{parameters} parameters, {train_rows} rows to train on, {valid_rows} to validate on, \
             {total_steps} steps{again}"
        ));
        self.prepared = Some(run.clone());
        self.began = Some((Instant::now(), done_steps));
        self.said = None;
        self.write_settings();
        self.show_bar(total_steps, "{wide_bar} {pos} of {len}, {msg}");
        if let Some(bar) = &self.bar {
            bar.set_position(done_steps);
        }
        self.write_report("running");
    }

    fn tokenised(&mut self, progress: &CacheProgress) {
        let CacheProgress { rows, bytes, total_bytes } = *progress;
        if self.is_terminal && self.bar.as_ref().is_none_or(|bar| bar.length() != Some(total_bytes)) {
            self.show_bar(total_bytes, "tokenising {wide_bar} {bytes} of {total_bytes}, {msg}, {eta} left");
        }
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(format!("{rows} rows"));
        } else if self.is_due() {
            say(&format!("tokenising: {rows} rows, {bytes} of {total_bytes} bytes"));
        }
    }

    fn row_skipped(&mut self, problem: &Error) {
        self.skipped_rows += 1;
        if self.skipped_rows <= SHOWN_ROWS {
            self.say(&format!("left out: {problem}"));
        }
    }

    fn step(&mut self, record: &StepRecord) {
        let skipped = if record.skipped { ", skipped" } else { "" };
        let left = self.left_s(record.step).map(|seconds| format!(", {} left", duration(seconds))).unwrap_or_default();
        let said = format!(
            "loss {:.4}, rate {:.2e}, {:.0} tokens/s{skipped}{left}",
            record.loss, record.learning_rate, record.tokens_per_s
        );
        if let Some(bar) = &self.bar {
            bar.set_position(record.step);
            bar.set_message(said);
        } else if record.skipped || self.is_due() {
            say(&format!("step {}: {said}", record.step));
        }
    }

    fn validated(&mut self, record: &ValidationRecord) {
        let ValidationRecord { step, valid_loss, perplexity, accuracy, best, .. } = record;
        let best = if *best { ", the best so far" } else { "" };
        let accuracy = 100.0 * accuracy;
        self.say(&format!(
            "step {step}: validation loss {valid_loss:.4}, perplexity {perplexity:.3}, accuracy {accuracy:.1} %{best}"
        ));
        self.write_report("running");
    }

    fn saved(&mut self, folder: &Path) {
        self.say(&format!("saved {}", folder.display()));
    }

    fn note(&mut self, note: &str) {
        self.say(note);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A failed run returns early. Its message must not be written into a half-drawn bar.
        self.take_bar_away();
    }
}
