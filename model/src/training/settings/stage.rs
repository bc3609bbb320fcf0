//! Settings of a stage: its steps, its learning rate, and the weights that it trains.
//!
//! Part of `settings`; read by `stages` and `schedule`.

use serde::{Deserialize, Serialize};

/// A stage: consecutive steps under one schedule.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Weights that a stage changes.
    #[serde(default)]
    pub train: Trainable,
    /// Number of steps.
    pub steps: u64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Shape of its fall after the warm-up.
    #[serde(default)]
    pub schedule: Schedule,
    /// Steps over which the rate rises from 0; they are part of `steps`.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Share of the highest rate at which `cosine` and `linear` end.
    #[serde(default)]
    pub final_fraction: f64,
}

/// Weights that a stage changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trainable {
    /// All weights.
    #[default]
    All,
    /// The weights of cross-attention and its two norms.
    CrossAttention,
}

/// Shape of a learning rate's fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
    /// No fall.
    Constant,
}

impl Stage {
    pub(super) fn problems(&self, index: usize) -> Vec<String> {
        let wrong = [
            (self.steps == 0).then_some("steps must be at least 1"),
            (!self.learning_rate.is_finite() || self.learning_rate <= 0.0)
                .then_some("learning_rate must be a finite number above 0"),
            (!(0.0..=1.0).contains(&self.final_fraction)).then_some("final_fraction must be in [0, 1]"),
            (self.warmup_steps > self.steps).then_some("warmup_steps must not exceed steps"),
        ];
        wrong.into_iter().flatten().map(|problem| format!("stage {}: {problem}", index + 1)).collect()
    }
}
