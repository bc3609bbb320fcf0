//! Reports of a run to its caller.
//!
//! Implemented by the server's command. Every method has an empty default: `()` ignores all reports.

use std::path::Path;

use super::data::CacheProgress;
use super::metrics::{StepRecord, ValidationRecord};

/// A run that is about to take its first step, or its first after being resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Steps taken before the run was resumed.
    pub done_steps: u64,
    /// Number of steps of all stages.
    pub total_steps: u64,
    /// Number of weights of the model.
    pub parameters: u64,
    /// Number of rows to train on.
    pub train_rows: usize,
    /// Number of rows to validate on.
    pub valid_rows: usize,
}

/// Gets reports of a run's progress, between its steps.
pub trait Observer: Send {
    /// Everything is opened and checked; steps follow.
    fn prepared(&mut self, _run: &Prepared) {}
    /// The token cache is being built; not reported if there is one already.
    fn tokenised(&mut self, _progress: &CacheProgress) {}
    /// A row is left out because it does not fit the objective.
    fn row_skipped(&mut self, _problem: &super::Error) {}
    /// A step ended.
    fn step(&mut self, _record: &StepRecord) {}
    /// A validation ended.
    fn validated(&mut self, _record: &ValidationRecord) {}
    /// A checkpoint, or the final model, is on disk.
    fn saved(&mut self, _folder: &Path) {}
    /// A note for people.
    fn note(&mut self, _note: &str) {}
}

impl Observer for () {}
