//! What a run tells whoever started it.
//!
//! Implemented by the server's command. Everything has an empty default: `()` looks at nothing.

use std::path::Path;

use super::data::CacheProgress;
use super::metrics::{StepRecord, ValidationRecord};

/// A run that is about to take its first step of this sitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Steps taken in earlier sittings.
    pub done_steps: u64,
    /// Steps of all stages.
    pub total_steps: u64,
    /// Weights of the model.
    pub parameters: u64,
    /// Rows that are trained on.
    pub train_rows: usize,
    /// Rows that are validated on.
    pub valid_rows: usize,
}

/// Told of a run's progress, between its steps.
pub trait Observer: Send {
    /// Everything is read; steps follow.
    fn prepared(&mut self, _run: &Prepared) {}
    /// The token cache grows; not told when there is one already.
    fn tokenised(&mut self, _progress: &CacheProgress) {}
    /// A row is left out, as it is not what the objective reads.
    fn row_skipped(&mut self, _problem: &super::Error) {}
    /// A step ended.
    fn step(&mut self, _record: &StepRecord) {}
    /// A validation ended.
    fn validated(&mut self, _record: &ValidationRecord) {}
    /// A checkpoint, or the final model, is on disk.
    fn saved(&mut self, _folder: &Path) {}
    /// Something that a person should know.
    fn note(&mut self, _note: &str) {}
}

impl Observer for () {}
