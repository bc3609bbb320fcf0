//! Dropout in the trained network: how much is dropped where, and by which key.
//!
//! Asked by `pass` at each site.

use kernels::math::philox;

use crate::training::ops::Dropout;

/// Shares of the numbers that are dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutOptions {
    /// Share of embeddings, residual branches, MLP products and final states.
    pub hidden: f32,
    /// Share of the attention probabilities.
    pub attention: f32,
    /// Share of a classification head's input.
    pub classifier: f32,
    /// Seed: the same seed drops the same numbers.
    pub seed: u64,
}

impl DropoutOptions {
    /// Dropout of a share at one site of a layer; `None` where nothing is dropped.
    pub(super) fn mask(&self, rate: f32, [stack, layer, site]: [u32; 3]) -> Option<Dropout> {
        let [low, high, ..] = philox(self.seed, [stack, layer, site, 0]);
        (rate > 0.0).then_some(Dropout { rate, key: u64::from(high) << 32 | u64::from(low) })
    }
}
