//! What a decode step must read from memory: the floor that its time is measured against.
//!
//! Called by benchmarks. Counts from the configuration alone.

use kernels::Precision;

use crate::config::ModelConfig;

/// Lengths that a decode step's reads depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLoad {
    /// Sequences.
    pub batch: usize,
    /// Source tokens of each.
    pub source_len: usize,
    /// Target positions that each sees.
    pub target_len: usize,
}

impl ModelConfig {
    /// Bytes that one decode step reads: all decoder weights with the output table, without the cross-attention's
    /// key and value projections (they run once per request), plus each sequence's self and cross K/V.
    pub fn step_bytes(&self, precision: Precision, load: StepLoad) -> u64 {
        let decoder = &self.decoder;
        let attention = 2 * decoder.hidden * (decoder.query_width() + decoder.kv_width());
        let cross = 2 * decoder.hidden * decoder.query_width();
        let layer = attention + cross + 3 * decoder.hidden * decoder.intermediate + 6 * decoder.hidden;
        let weights = decoder.layers * layer + decoder.hidden + decoder.vocab * decoder.hidden;
        let target_seen = |layer| decoder.window(layer).map_or(load.target_len, |window| window.min(load.target_len));
        let positions: usize = (0..decoder.layers).map(|layer| load.source_len + target_seen(layer)).sum();
        let kv = load.batch * positions * 2 * decoder.kv_width();
        let number_bytes = match precision {
            Precision::F32 => 4,
            Precision::Bf16 => 2,
        };
        ((weights + kv) * number_bytes) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::shape;

    #[test]
    fn a_step_of_the_smallest_shape_reads_its_decoder_and_its_keys_and_values() {
        let config = shape("s-s").unwrap();
        let load = StepLoad { batch: 1, source_len: 256, target_len: 32 };
        // 29,385,216 decoder numbers less 8 layers of cross K and V, and 256,000 rows of 512.
        let weights = 29_385_216 - 8 * 2 * 512 * 512 + 256_000 * 512;
        let kv = 8 * (256 + 32) * 2 * 512;
        assert_eq!(config.step_bytes(Precision::Bf16, load), 2 * (weights + kv));
        assert_eq!(config.step_bytes(Precision::F32, load), 4 * (weights + kv));
    }
}
