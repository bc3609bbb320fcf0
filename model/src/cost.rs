//! What a decode step must read from memory: the floor that its time is measured against.
//!
//! Called by benchmarks. Counts from the configuration alone.

use kernels::{KvFormat, Precision};

use crate::config::{ModelConfig, StackConfig};

/// What a decode step's reads depend on beside the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLoad {
    /// Sequences.
    pub batch: usize,
    /// Source tokens of each.
    pub source_len: usize,
    /// Target positions that each sees.
    pub target_len: usize,
    /// How the sources' keys and values are kept.
    pub cross_kv: KvFormat,
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
        let target_positions: usize = (0..decoder.layers).map(target_seen).sum();
        let kv = target_positions * decoder.token_bytes(precision.into())
            + decoder.layers * load.source_len * decoder.token_bytes(load.cross_kv);
        let number_bytes = match precision {
            Precision::F32 => 4,
            Precision::Bf16 => 2,
        };
        (weights * number_bytes + load.batch * kv) as u64
    }
}

impl StackConfig {
    /// Bytes of one token's keys and values in one layer.
    fn token_bytes(&self, format: KvFormat) -> usize {
        match format {
            KvFormat::F32 => 2 * self.kv_width() * 4,
            KvFormat::Bf16 => 2 * self.kv_width() * 2,
            // And a float32 scale for each head's key and value.
            KvFormat::Int8 => 2 * (self.kv_width() + 4 * self.kv_heads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::shape;

    #[test]
    fn a_step_of_the_smallest_shape_reads_its_decoder_and_its_keys_and_values() {
        let config = shape("s-s").unwrap();
        let load = StepLoad { batch: 1, source_len: 256, target_len: 32, cross_kv: KvFormat::Bf16 };
        // 29,385,216 decoder numbers less 8 layers of cross K and V, and 256,000 rows of 512.
        let weights = 29_385_216 - 8 * 2 * 512 * 512 + 256_000 * 512;
        let kv = 8 * (256 + 32) * 2 * 512;
        assert_eq!(config.step_bytes(Precision::Bf16, load), 2 * (weights + kv));
        let floats = StepLoad { cross_kv: KvFormat::F32, ..load };
        assert_eq!(config.step_bytes(Precision::F32, floats), 4 * (weights + kv));
        let integers = StepLoad { cross_kv: KvFormat::Int8, ..load };
        let saved = 8 * 256 * 2 * (512 - 8 * 4);
        assert_eq!(config.step_bytes(Precision::Bf16, integers), 2 * (weights + kv) - saved);
    }
}
