//! Settings of checkpoints and of validation.
//!
//! Part of `settings`; read by `state` and `validation`.

use serde::{Deserialize, Serialize};

/// Settings of checkpoints.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSettings {
    /// Steps between checkpoints; 0 writes one at the end only.
    pub every_steps: u64,
    /// Number of checkpoints kept beside the best one.
    pub keep: usize,
    /// Number of checkpoints whose mean is the final model; 0 and 1 take the last (or the best, with early stopping).
    pub average_last: usize,
}

/// Settings of validation on rows that are not trained on.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationSettings {
    /// Steps between validations; 0 validates at the end only.
    pub every_steps: u64,
    /// Most rows, from the start; 0 takes all.
    pub rows: usize,
    /// Rows whose continuation is written into the report.
    pub samples: usize,
    /// Most tokens of such a continuation.
    pub sample_tokens: usize,
    /// Metric by which early stopping and the choice of the best checkpoint decide.
    pub metric: Metric,
    /// Number of validations without a better metric after which the run stops; 0 never stops.
    pub patience: usize,
}

/// Metric of a validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean cross-entropy per target token; lower is better.
    #[default]
    Loss,
    /// Share of target tokens (or labels) that are the most probable ones; higher is better.
    Accuracy,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self { every_steps: 500, keep: 2, average_last: 0 }
    }
}

impl Default for ValidationSettings {
    fn default() -> Self {
        Self { every_steps: 500, rows: 1000, samples: 8, sample_tokens: 48, metric: Metric::Loss, patience: 0 }
    }
}
