//! Formulas of the ops on single numbers and rows.
//!
//! Called by the reference's ops and by tests.

use crate::rope::RopeSpec;

/// Angle of pair `i` at a position: the position times the pair's frequency, in float32 as transformers computes it.
pub fn rope_angle(position: usize, i: usize, head_dim: usize, spec: RopeSpec) -> f32 {
    position as f32 * spec.frequency(i, head_dim)
}

/// `x * rsqrt(mean(x^2) + eps) * (1 + w)`; `gain` holds `1 + w`.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let mean = x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
    let factor = 1.0 / (mean + eps).sqrt();
    x.iter().zip(gain).map(|(x, gain)| x * factor * gain).collect()
}

/// `cap * tanh(x / cap)`.
pub fn softcap(x: f32, cap: Option<f32>) -> f32 {
    cap.map_or(x, |cap| cap * (x / cap).tanh())
}

/// GELU in its tanh form: `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
pub fn gelu_tanh(x: f32) -> f32 {
    0.5 * x * (1.0 + ((2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}
