//! Settings of the optimizer.
//!
//! Part of `settings`; read by `optimizer` and by the loss.

use serde::{Deserialize, Serialize};

/// Settings of AdamW (Loshchilov and Hutter, arXiv 1711.05101), of clipping and of the loss.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Number added to the root of the second moment.
    pub epsilon: f64,
    /// Share of a weight that a step subtracts, times the learning rate; norms too, as in torch.
    pub weight_decay: f64,
    /// Largest norm of the gradient over all weights together; 0 never clips.
    pub clip_norm: f64,
    /// Weight of the squared log-normaliser in the loss.
    pub z_loss: f64,
    /// A step whose loss is more than this many times the recent mean is skipped; 0 never skips.
    pub skip_loss_factor: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip_norm: 1.0,
            z_loss: 0.0,
            skip_loss_factor: 0.0,
        }
    }
}

impl OptimizerSettings {
    pub(super) fn problems(&self) -> Vec<String> {
        let decay = |key: &str, value: f64| {
            (!(0.0..1.0).contains(&value)).then(|| format!("optimizer.{key} must be in [0, 1)"))
        };
        let positive = |key: &str, value: f64| {
            (!value.is_finite() || value < 0.0).then(|| format!("optimizer.{key} must be a finite number, at least 0"))
        };
        [
            decay("beta1", self.beta1),
            decay("beta2", self.beta2),
            positive("epsilon", self.epsilon),
            positive("weight_decay", self.weight_decay),
            positive("clip_norm", self.clip_norm),
            positive("z_loss", self.z_loss),
            positive("skip_loss_factor", self.skip_loss_factor),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
