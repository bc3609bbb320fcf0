//! What a decode step must read from memory: the floor that its time is measured against.
//!
//! Called by benchmarks. Counts from the configuration alone.

use kernels::{DType, KvFormat, WeightFormat};

use crate::arithmetic::{Arithmetic, Role};
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
}

/// Norms are kept in float32.
const NORM_BYTES: usize = DType::F32.bytes();
/// Beside its integers, a row of the output layer's screening copy has three numbers in float32.
const SCREENING_ROW_BYTES: usize = 3 * DType::F32.bytes();

impl ModelConfig {
    /// Bytes that one greedy decode step reads: all decoder weights, each in its format, without the cross-attention's
    /// key and value projections (they run once per request); the output layer's 8-bit screening copy; and each
    /// sequence's self and cross K/V.
    pub fn step_bytes(&self, arithmetic: Arithmetic, load: StepLoad) -> u64 {
        let decoder = &self.decoder;
        let (hidden, query, intermediate) = (decoder.hidden, decoder.query_width(), decoder.intermediate);
        let matrix = |role, rows, cols| rows * row_bytes(arithmetic.format(role), cols);
        let layer = matrix(Role::SelfAttention, query + 2 * decoder.kv_width(), hidden)
            + matrix(Role::SelfAttention, hidden, query)
            + matrix(Role::CrossAttention, query, hidden)
            + matrix(Role::CrossAttention, hidden, query)
            + matrix(Role::FeedForward, 2 * intermediate, hidden)
            + matrix(Role::FeedForward, hidden, intermediate)
            + 6 * hidden * NORM_BYTES;
        let output = decoder.vocab * (hidden.next_multiple_of(4) + SCREENING_ROW_BYTES);
        let target_seen = |layer| decoder.window(layer).map_or(load.target_len, |window| window.min(load.target_len));
        let target_positions: usize = (0..decoder.layers).map(target_seen).sum();
        let kv = target_positions * decoder.token_bytes(arithmetic.precision.into())
            + decoder.layers * load.source_len * decoder.token_bytes(arithmetic.cross_kv);
        (decoder.layers * layer + hidden * NORM_BYTES + output + load.batch * kv) as u64
    }
}

/// Bytes of one output feature of a matrix.
const fn row_bytes(format: WeightFormat, cols: usize) -> usize {
    match format {
        WeightFormat::F32 => cols * DType::F32.bytes(),
        WeightFormat::Bf16 => cols * DType::Bf16.bytes(),
        WeightFormat::Quantized(scheme) => scheme.integer_bytes(cols) + scheme.scale_bytes(cols),
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
    use kernels::{Precision, Scheme};

    use super::*;
    use crate::shapes::shape;

    const LOAD: StepLoad = StepLoad { batch: 1, source_len: 256, target_len: 32 };
    /// Of all 8 decoder layers: self-attention, cross-attention without K and V, feed-forward.
    const MATRICES: [u64; 3] = [8 * 4 * 512 * 512, 8 * 2 * 512 * 512, 8 * 3 * 512 * 1024];
    const NORMS: u64 = (8 * 6 + 1) * 512;
    const OUTPUT_BYTES: u64 = 256_000 * (512 + 12);
    const KV: u64 = 8 * (256 + 32) * 2 * 512;

    fn bytes(precision: Precision, quantize: Option<Scheme>) -> u64 {
        shape("s-s").unwrap().step_bytes(Arithmetic { quantize, ..precision.into() }, LOAD)
    }

    #[test]
    fn a_step_of_the_smallest_shape_reads_its_decoder_and_its_keys_and_values() {
        let numbers = MATRICES.iter().sum::<u64>();
        // The shape's decoder has 29,385,216 numbers, cross K and V with them.
        assert_eq!(numbers + NORMS + 8 * 2 * 512 * 512, 29_385_216);
        for (precision, number_bytes) in [(Precision::F32, 4), (Precision::Bf16, 2)] {
            let expected = number_bytes * (numbers + KV) + 4 * NORMS + OUTPUT_BYTES;
            assert_eq!(bytes(precision, None), expected);
        }
    }

    #[test]
    fn cross_keys_and_values_of_eight_bits_count_their_scales() {
        let arithmetic = Arithmetic { cross_kv: KvFormat::Int8, ..Precision::Bf16.into() };
        let saved = 8 * 256 * 2 * (2 * 512 - (512 + 4 * 8));
        assert_eq!(shape("s-s").unwrap().step_bytes(arithmetic, LOAD), bytes(Precision::Bf16, None) - saved);
    }

    #[test]
    fn quantised_matrices_count_their_integers_and_scales() {
        let [own, cross, feed_forward] = MATRICES;
        // Rows of self-attention, of cross-attention, and of the feed-forward's two matrices.
        let (own_rows, cross_rows, feed_forward_rows) = (8 * 2048, 8 * 1024, 8 * (2048 + 512));
        let rest = 4 * NORMS + OUTPUT_BYTES;
        let int8 = own + cross + feed_forward + 4 * (own_rows + cross_rows + feed_forward_rows);
        assert_eq!(bytes(Precision::Bf16, Some(Scheme::Int8)), int8 + 2 * KV + rest);
        assert_eq!(bytes(Precision::F32, Some(Scheme::Int8)), int8 + 4 * KV + rest);
        let int4 = own + 4 * own_rows + (cross + feed_forward) / 2 + (cross + feed_forward) / 32 * 2;
        assert_eq!(bytes(Precision::Bf16, Some(Scheme::Int4)), int4 + 2 * KV + rest);
    }
}
