//! Rotary position embeddings: which angle a position rotates a pair of numbers by.
//!
//! Used by every backend to make its table of angles.

use crate::math::inverse_frequency;

/// Angles of rotary position embeddings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies: pair `i` of a head has the frequency `theta^(-2i / head_dim)`.
    pub theta: f32,
    /// Stretching of positions beyond those of pretraining.
    pub scaling: RopeScaling,
}

/// How positions are stretched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Positions stay as they are.
    None,
    /// Positions are divided by a factor.
    Linear {
        /// The factor; above 1 it lets a model reach further.
        factor: f32,
    },
}

impl RopeSpec {
    /// Angles without scaling.
    pub const fn unscaled(theta: f32) -> Self {
        Self { theta, scaling: RopeScaling::None }
    }

    /// Frequency of pair `i` of a head, in float32. As in transformers (`modeling_rope_utils.py`), a factor divides the
    /// frequency, not the position.
    pub fn frequency(&self, i: usize, head_dim: usize) -> f32 {
        let frequency = inverse_frequency(i, head_dim, self.theta);
        match self.scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
        }
    }

    /// Frequencies of all pairs of a head: a position's angle is the position times the frequency.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2).map(|i| self.frequency(i, head_dim)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_factor_stretches_positions_and_none_changes_no_bit() {
        let (plain, scaled) = (RopeSpec::unscaled(1e6), RopeScaling::Linear { factor: 8.0 });
        let scaled = RopeSpec { scaling: scaled, ..plain };
        for i in 0..128 {
            assert_eq!(plain.frequency(i, 256).to_bits(), inverse_frequency(i, 256, 1e6).to_bits());
            // A power of two divides without rounding, so position 8 of the one is position 1 of the other.
            assert_eq!(8.0 * scaled.frequency(i, 256), plain.frequency(i, 256));
        }
        assert_eq!(scaled.frequencies(256).len(), 128);
    }
}
