//! The published shapes of T5Gemma and T5Gemma 2 by name, for models of random weights that need no files.
//!
//! Called by the server for `--shape`. Sizes are those of the released checkpoints, whose gated MLP is wider than the
//! paper's table of parameter counts suggests.

use kernels::{RopeScaling, RopeSpec};

use crate::config::{Generation, LayerRopes, ModelConfig, StackConfig, alternating};
use crate::error::{Error, Result};

/// Names that [`shape`] understands, smallest first.
pub const SHAPES: [&str; 11] =
    ["s-s", "2-270m", "b-b", "l-l", "2-1b", "ml-ml", "xl-xl", "2b-2b", "2-4b", "9b-2b", "9b-9b"];

const VOCAB: usize = 256_000;
/// Vocabulary of the second generation.
const VOCAB2: usize = 262_144;
/// Token of the second generation that ends an image.
const END_OF_IMAGE: u32 = 256_000;

/// The configuration of a published shape.
///
/// # Errors
/// Lists the known names when this one is not among them.
pub fn shape(name: &str) -> Result<ModelConfig> {
    let (encoder, decoder) = match name {
        "s-s" => (SMALL, SMALL),
        "b-b" => (BASE, BASE),
        "l-l" => (LARGE, LARGE),
        "xl-xl" => (EXTRA_LARGE, EXTRA_LARGE),
        "ml-ml" => (MEDIUM_LARGE, MEDIUM_LARGE),
        "2b-2b" => (TWO_BILLION, TWO_BILLION),
        "9b-2b" => (NINE_BILLION, TWO_BILLION),
        "9b-9b" => (NINE_BILLION, NINE_BILLION),
        "2-270m" => return Ok(second(M270)),
        "2-1b" => return Ok(second(ONE_BILLION)),
        "2-4b" => return Ok(second(FOUR_BILLION)),
        _ => return Err(Error::UnknownShape { name: name.to_owned(), known: SHAPES.to_vec() }),
    };
    Ok(pair(encoder.stack(), decoder.stack()))
}

fn pair(encoder: StackConfig, decoder: StackConfig) -> ModelConfig {
    let (start_token, end_tokens, pad_token) = (2, vec![1], 0);
    ModelConfig { encoder, decoder, tie_word_embeddings: true, start_token, end_tokens, pad_token, bos_token: 2 }
}

/// Sizes in which the published stacks differ.
struct Size {
    layers: usize,
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

const SMALL: Size = Size { layers: 8, hidden: 512, intermediate: 1024, heads: 8, kv_heads: 8, head_dim: 64 };
const BASE: Size = Size { layers: 12, hidden: 768, intermediate: 2048, heads: 12, kv_heads: 12, head_dim: 64 };
const LARGE: Size = Size { layers: 24, hidden: 1024, intermediate: 2816, heads: 16, kv_heads: 16, head_dim: 64 };
const MEDIUM_LARGE: Size = Size { layers: 26, hidden: 1152, intermediate: 6912, heads: 4, kv_heads: 4, head_dim: 256 };
const EXTRA_LARGE: Size = Size { layers: 24, hidden: 2048, intermediate: 5120, heads: 32, kv_heads: 32, head_dim: 64 };
const TWO_BILLION: Size = Size { layers: 26, hidden: 2304, intermediate: 9216, heads: 8, kv_heads: 4, head_dim: 256 };
const NINE_BILLION: Size =
    Size { layers: 42, hidden: 3584, intermediate: 14336, heads: 16, kv_heads: 8, head_dim: 256 };

impl Size {
    fn stack(&self) -> StackConfig {
        StackConfig {
            generation: Generation::Gemma2,
            hidden: self.hidden,
            intermediate: self.intermediate,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            query_pre_attn_scalar: self.head_dim as f32,
            rms_norm_eps: 1e-6,
            ropes: LayerRopes::alike(RopeSpec::unscaled(10_000.0)),
            attn_softcap: Some(50.0),
            final_softcap: Some(30.0),
            sliding_window: 4096,
            layer_kinds: alternating(self.layers, 2),
            vocab: VOCAB,
            max_positions: 8192,
            own_row_token: None,
        }
    }
}

/// Sizes of a stack of the second generation, and its window and reach.
struct Size2 {
    size: Size,
    sliding_window: usize,
    max_positions: usize,
}

const M270: Size2 = Size2 {
    size: Size { layers: 18, hidden: 640, intermediate: 2048, heads: 4, kv_heads: 1, head_dim: 256 },
    sliding_window: 512,
    max_positions: 32_768,
};
const ONE_BILLION: Size2 = Size2 {
    size: Size { layers: 26, hidden: 1152, intermediate: 6912, heads: 4, kv_heads: 1, head_dim: 256 },
    sliding_window: 512,
    max_positions: 131_072,
};
const FOUR_BILLION: Size2 = Size2 {
    size: Size { layers: 34, hidden: 2560, intermediate: 10_240, heads: 8, kv_heads: 4, head_dim: 256 },
    sliding_window: 1024,
    max_positions: 131_072,
};

/// An encoder-decoder of the second generation, whose stacks are alike.
fn second(size: Size2) -> ModelConfig {
    let Size2 { size, sliding_window, max_positions } = size;
    let full = RopeSpec { theta: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } };
    let decoder = StackConfig {
        generation: Generation::Gemma3,
        ropes: LayerRopes { sliding: RopeSpec::unscaled(10_000.0), full },
        attn_softcap: None,
        final_softcap: None,
        sliding_window,
        layer_kinds: alternating(size.layers, 6),
        vocab: VOCAB2,
        max_positions,
        ..size.stack()
    };
    pair(StackConfig { own_row_token: Some(END_OF_IMAGE), ..decoder.clone() }, decoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_the_published_number_of_parameters() {
        // Those of the second generation without the vector of the end of an image, 640, 1152 and 2560 numbers.
        let published = [
            312_517_632,
            368_424_192 + 640,
            591_490_560,
            1_241_761_792,
            1_697_782_016 + 1152,
            2_200_345_344,
            3_766_980_608,
            5_596_853_760,
            7_089_110_016 + 2560,
            12_292_375_296,
            20_333_401_088_u64,
        ];
        for (name, parameters) in SHAPES.into_iter().zip(published) {
            assert_eq!(shape(name).unwrap().parameters(), parameters, "{name}");
        }
    }

    #[test]
    fn an_unknown_shape_is_answered_with_the_known_ones() {
        let message = shape("s-xl").unwrap_err().to_string();
        assert!(message.contains("s-xl") && message.contains("9b-2b"), "{message}");
    }
}
