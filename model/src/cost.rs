//! The least that running a model costs, counted from its configuration: bytes of a decode step, operations of an
//! encoder run, bytes of the weights.
//!
//! Called by benchmarks, which compare measured times with these floors, and before a model is loaded.

use kernels::{DType, KvFormat, Precision, Scheme, WeightFormat, Window};

use crate::arithmetic::{Arithmetic, Role};
use crate::config::{EncoderConfig, Generation, ModelConfig, StackConfig};

/// Batch and lengths of a decode step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLoad {
    /// Sequences.
    pub batch: usize,
    /// Source tokens of each sequence.
    pub source_len: usize,
    /// Target positions that each sequence sees.
    pub target_len: usize,
    /// Whether greedy ids are found with an 8-bit copy of the output table ([`crate::Model::screens_output`]).
    pub screens: bool,
}

/// Sources of an encoder run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderLoad {
    /// Number of sources.
    pub sources: usize,
    /// Tokens of each source.
    pub source_len: usize,
}

/// Norms are kept in float32.
const NORM_BYTES: usize = DType::F32.bytes();
/// A row of the output table's screening copy has three float32 numbers beside its integers.
const SCREENING_ROW_BYTES: usize = 3 * DType::F32.bytes();

impl ModelConfig {
    /// Bytes that one greedy decode step reads. They are the decoder's weights, each in its format, without the key and
    /// value projections of cross-attention, which run once per request; the output table or its screening copy; and
    /// the keys and values of each sequence.
    pub fn step_bytes(&self, arithmetic: Arithmetic, load: StepLoad) -> u64 {
        let decoder = &self.decoder;
        let (hidden, query, intermediate) = (decoder.hidden, decoder.query_width(), decoder.intermediate);
        let matrix = |role, rows, cols| rows * row_bytes(arithmetic.format(role), cols);
        let cross = matrix(Role::CrossAttention, query, hidden) + matrix(Role::CrossAttention, hidden, query);
        let (cross, norms) = match decoder.generation {
            Generation::Gemma2 => (cross, 6 * hidden),
            Generation::Gemma3 => (0, 4 * hidden + 2 * decoder.head_dim),
        };
        let layer = matrix(Role::SelfAttention, query + 2 * decoder.kv_width(), hidden)
            + matrix(Role::SelfAttention, hidden, query)
            + cross
            + matrix(Role::FeedForward, 2 * intermediate, hidden)
            + matrix(Role::FeedForward, hidden, intermediate)
            + norms * NORM_BYTES;
        let output_row = match load.screens {
            true => hidden.next_multiple_of(4) + SCREENING_ROW_BYTES,
            false => row_bytes(arithmetic.format(Role::Table), hidden),
        };
        let output = decoder.vocab * output_row;
        let kv = self.kv_bytes(arithmetic, load.source_len, load.target_len);
        (decoder.layers * layer + hidden * NORM_BYTES + output) as u64 + load.batch as u64 * kv
    }

    /// Bytes of the keys and values that a decode step reads for one sequence, which sees so many positions of its
    /// source and of its target.
    pub fn kv_bytes(&self, arithmetic: Arithmetic, source_len: usize, target_len: usize) -> u64 {
        let decoder = &self.decoder;
        let target_seen = |layer| decoder.window(layer).map_or(target_len, |window| window.min(target_len));
        let target_positions: usize = (0..decoder.layers).map(target_seen).sum();
        let target = target_positions * decoder.token_bytes(arithmetic.self_kv());
        (target + decoder.layers * source_len * decoder.token_bytes(arithmetic.cross_kv)) as u64
    }

    /// Multiplications and additions of an encoder run: the products and the attention of every layer, and the keys and
    /// values of cross-attention.
    pub fn encoder_operations(&self, load: EncoderLoad) -> u64 {
        let EncoderLoad { sources, source_len } = load;
        let encoder = &self.encoder;
        let (hidden, query, kv) = (encoder.hidden, encoder.query_width(), encoder.kv_width());
        let weights = hidden * (2 * query + 2 * kv + 3 * encoder.intermediate);
        // The ends of a source, where a window is cut, hardly count.
        let seen = |layer| match encoder.encoder_window(layer) {
            Window { left: Some(left), right: Some(right) } => source_len.min(left + 1 + right),
            _ => source_len,
        };
        let attended: usize = (0..encoder.layers).map(|layer| 2 * query * seen(layer)).sum();
        let cross = self.decoder.layers * 2 * self.decoder.kv_width() * hidden;
        (2 * sources * source_len * (encoder.layers * weights + attended + cross)) as u64
    }

    /// Lower bound of the bytes that all weights take in memory: every number in the smallest format that its kind may
    /// have, without scales and screening copies.
    pub fn least_weight_bytes(&self, arithmetic: Arithmetic) -> u64 {
        let tables = self.table_parameters();
        least_bytes(tables, self.parameters() - tables, arithmetic)
    }
}

impl EncoderConfig {
    /// Lower bound of the bytes that all weights take in memory, as [`ModelConfig::least_weight_bytes`] counts them. A
    /// head does not count.
    pub fn least_weight_bytes(&self, arithmetic: Arithmetic) -> u64 {
        let table = self.encoder.embedding_parameters();
        least_bytes(table, self.parameters() - table, arithmetic)
    }
}

/// The fewest bytes of so many numbers in embedding tables and in layers.
const fn least_bytes(tables: u64, layers: u64, arithmetic: Arithmetic) -> u64 {
    let table_bytes = match arithmetic.precision {
        Precision::F32 => DType::F32.bytes(),
        Precision::Bf16 => DType::Bf16.bytes(),
    } as u64;
    let layer_bytes = match arithmetic.quantize {
        None => layers * table_bytes,
        Some(Scheme::Int8) => layers,
        Some(Scheme::Int4) => layers / 2,
    };
    tables * table_bytes + layer_bytes
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
            // One float32 scale for the key and one for the value of each head.
            KvFormat::Int8 => 2 * (self.kv_width() + 4 * self.kv_heads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::shape;

    const LOAD: StepLoad = StepLoad { batch: 1, source_len: 256, target_len: 32, screens: true };
    /// Numbers in all 8 decoder layers: self-attention, cross-attention without K and V, feed-forward.
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
    fn weights_take_at_least_their_numbers_in_the_smallest_format() {
        let s_s = shape("s-s").unwrap();
        let (tables, rest) = (2 * 256_000 * 512, s_s.parameters() - 2 * 256_000 * 512);
        let least =
            |precision: Precision, quantize| s_s.least_weight_bytes(Arithmetic { quantize, ..precision.into() });
        assert_eq!(least(Precision::F32, None), 4 * s_s.parameters());
        assert_eq!(least(Precision::Bf16, None), 2 * s_s.parameters());
        assert_eq!(least(Precision::Bf16, Some(Scheme::Int8)), 2 * tables + rest);
        assert_eq!(least(Precision::Bf16, Some(Scheme::Int4)), 2 * tables + rest / 2);
        let encoder = EncoderConfig { encoder: s_s.encoder.clone(), labels: Vec::new() };
        let (all, table) = (encoder.parameters(), 256_000 * 512);
        assert_eq!(encoder.least_weight_bytes(Precision::F32.into()), 4 * all);
        let eight_bits = Arithmetic { quantize: Some(Scheme::Int8), ..Precision::Bf16.into() };
        assert_eq!(encoder.least_weight_bytes(eight_bits), 2 * table + (all - table));
    }

    #[test]
    fn without_a_copy_for_screening_the_output_table_is_read_whole() {
        let s_s = shape("s-s").unwrap();
        let bytes = |screens| s_s.step_bytes(Precision::Bf16.into(), StepLoad { screens, ..LOAD });
        assert_eq!(bytes(false) - bytes(true), 256_000 * 2 * 512 - OUTPUT_BYTES);
    }

    #[test]
    fn an_encoder_run_multiplies_every_token_with_every_weight_and_with_every_token() {
        let s_s = shape("s-s").unwrap();
        let weights = 8 * (4 * 512 * 512 + 3 * 512 * 1024) + 8 * 2 * 512 * 512;
        let operations = |sources, source_len| s_s.encoder_operations(EncoderLoad { sources, source_len });
        assert_eq!(operations(1, 1), 2 * (weights + 8 * 2 * 512));
        assert_eq!(operations(3, 100), 2 * 300 * (weights + 8 * 2 * 512 * 100));
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
