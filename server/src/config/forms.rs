//! The settings under `[limits]` about the forms of answers: schemas, expressions, grammars and lists of targets.
//!
//! Part of `limits`.

use std::time::Duration;

use super::reader::Reader;
use super::{GIB, MIB};

/// Bounds on the forms of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormLimits {
    /// Bytes of a schema, an expression or a grammar.
    pub grammar_bytes: usize,
    /// Strings in a list of targets.
    pub allowed_targets: usize,
    /// Bytes of all strings of such a list.
    pub allowed_target_bytes: usize,
    /// Grammars that are tried at once.
    pub grammar_trials: usize,
    /// Seconds of processor time to try a grammar.
    pub grammar_trial_s: u64,
    /// Forms that are kept compiled, for each model.
    pub cached_forms: usize,
    /// Bytes of memory of these, for each model.
    pub cached_form_bytes: usize,
    /// Bytes that a running answer may take beyond the compiled form.
    pub form_growth_bytes: usize,
    /// Threads that find what may come next, for each model; 0: half of the cores, and eight at most.
    pub mask_threads: usize,
    /// Longest time that a step waits for them.
    pub mask_wait: Duration,
    /// Longest time for what may come next in one answer.
    pub mask_time: Duration,
    /// Longest time until one of the threads begins with it.
    pub mask_queue: Duration,
}

impl FormLimits {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            grammar_bytes: reader.integer("limits.grammar_bytes", 256..=MIB),
            allowed_targets: reader.integer("limits.allowed_targets", 1..=MIB),
            allowed_target_bytes: reader.integer("limits.allowed_target_bytes", 1024..=GIB),
            grammar_trials: reader.integer("limits.grammar_trials", 1..=256),
            grammar_trial_s: reader.integer("limits.grammar_trial_s", 1..=60),
            cached_forms: reader.integer("limits.cached_forms", 1..=4096),
            cached_form_bytes: reader.integer("limits.cached_form_bytes", MIB..=1024 * GIB),
            form_growth_bytes: reader.integer("limits.form_growth_bytes", 65_536..=GIB),
            mask_threads: reader.integer("limits.mask_threads", 0..=256),
            mask_wait: Duration::from_millis(reader.integer("limits.mask_wait_ms", 0..=1000)),
            mask_time: Duration::from_millis(reader.integer("limits.mask_time_ms", 1..=60_000)),
            mask_queue: Duration::from_millis(reader.integer("limits.mask_queue_ms", 1..=600_000)),
        }
    }
}
