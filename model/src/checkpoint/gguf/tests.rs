//! Every type of block against what llama.cpp's Python package reads of the same file, or against the format's
//! description where that file has none of a type.

use std::path::Path;

use candle_core::quantized::GgmlDType;
use half::f16;
use kernels::RopeSpec;
use safetensors::SafeTensors;

use super::GgufFile;
use super::blocks::numbers_of;
use crate::checkpoint::TensorTable;
use crate::config::{DecoderConfig, Generation, LayerKind, LayerRopes, StackConfig};

/// The stack of the fixture, as far as Gemma 2 has its tensors.
fn config() -> DecoderConfig {
    let stack = StackConfig {
        generation: Generation::Gemma2,
        hidden: 256,
        intermediate: 512,
        layers: 2,
        heads: 4,
        kv_heads: 1,
        head_dim: 64,
        query_pre_attn_scalar: 64.0,
        rms_norm_eps: 1e-6,
        ropes: LayerRopes::alike(RopeSpec::unscaled(10_000.0)),
        attn_softcap: None,
        final_softcap: None,
        sliding_window: 8,
        layer_kinds: vec![LayerKind::Sliding; 2],
        vocab: 512,
        max_positions: 512,
        own_row_token: None,
    };
    DecoderConfig { stack, tie_word_embeddings: true, end_tokens: vec![1], pad_token: 0, bos_token: 2 }
}

#[test]
fn blocks_of_every_type_are_read_as_llama_cpp_reads_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gemma3-gguf");
    let gguf = GgufFile::open(&folder.join("model.gguf")).unwrap();
    let table = TensorTable::decoder_only(&config());
    let locations = gguf.locate(&table).unwrap();
    let files = [gguf.into_file()];
    let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, _) in table.iter() {
        let numbers = locations[name].read(name, &files).unwrap().numbers();
        let Ok(view) = expected.tensor(name) else {
            continue;
        };
        let expected = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        // Norms were rounded when the file's writer added 1 to them.
        let tolerance = if view.shape().len() == 1 { f32::EPSILON } else { 0.0 };
        assert!(numbers.into_iter().zip(expected).all(|(own, theirs)| (own - theirs).abs() <= tolerance), "{name}");
        compared += 1;
    }
    // Four matrices and four norms of the first layer, and the last norm.
    assert_eq!(compared, 9);
}

/// The number at a place of a block of 32: four bits, of which the low halves of 16 bytes come first, and a fifth.
fn integer(low: &[u8], fifth: u32, place: usize) -> f32 {
    let half = if place < 16 { low[place] & 15 } else { low[place - 16] >> 4 };
    f32::from(half) + 16.0 * (fifth >> place & 1) as f32
}

/// Number of a block by its place.
type NumberAt<'a> = &'a dyn Fn(usize) -> f32;

#[test]
fn blocks_of_scale_and_offset_are_read_as_the_format_describes() {
    let (scale, offset) = (f16::from_f32(0.037), f16::from_f32(-0.21));
    let low: Vec<u8> = (0..16_u8).map(|byte| byte.wrapping_mul(73).wrapping_add(5)).collect();
    let fifth = 0xA5C3_1E97_u32;
    let (scale_bytes, offset_bytes, fifth_bytes) = (scale.to_le_bytes(), offset.to_le_bytes(), fifth.to_le_bytes());
    let (scale, offset) = (scale.to_f32(), offset.to_f32());
    let cases: [(GgmlDType, Vec<u8>, NumberAt<'_>); 4] = [
        (GgmlDType::Q4_0, [&scale_bytes[..], &low].concat(), &|place| (integer(&low, 0, place) - 8.0) * scale),
        (GgmlDType::Q4_1, [&scale_bytes[..], &offset_bytes, &low].concat(), &|place| {
            integer(&low, 0, place) * scale + offset
        }),
        (GgmlDType::Q5_0, [&scale_bytes[..], &fifth_bytes, &low].concat(), &|place| {
            (integer(&low, fifth, place) - 16.0) * scale
        }),
        (GgmlDType::Q5_1, [&scale_bytes[..], &offset_bytes, &fifth_bytes, &low].concat(), &|place| {
            integer(&low, fifth, place) * scale + offset
        }),
    ];
    for (format, block, expected) in cases {
        let expected: Vec<f32> = (0..64).map(|place| expected(place % 32)).collect();
        assert_eq!(numbers_of(format, &[block.clone(), block].concat(), 64), expected, "{format:?}");
    }
}
