//! The configuration of a T5Gemma 2 that is adapted from two Gemma 3, and its `config.json` as transformers 5.17 writes
//! it.
//!
//! Called by `adapted` and `adaptation`. Its stacks keep their own layers, windows and rotary angles.

use kernels::{RopeScaling, RopeSpec};
use serde_json::{Value, json};

use super::adapted::{AdaptedConfig, AdaptedSource, decimal, end_tokens, stack_with};
use super::decoder_only::DecoderConfig;
use super::document::{ConfigDocument, T5GEMMA2};
use super::encoder_decoder::ModelConfig;
use super::encoder_fields::{DEFAULT_END_OF_IMAGE, END_OF_IMAGE};
use super::saved::dtype_name;
use super::stack::StackConfig;

/// Rows of the table of a T5Gemma 2. A Gemma 3 with images has 64 more, of which it uses one, for parts of an image.
const ROWS: usize = 262_144;
/// Token that begins an image.
const BEGIN_OF_IMAGE: u32 = 255_999;
/// Token of each part of an image.
const IMAGE: u32 = 256_001;

/// The configuration of a T5Gemma 2 with the layers of these sources; `document` is the decoder's.
pub(crate) fn merged_pair(encoder: &DecoderConfig, decoder: &DecoderConfig, document: &ConfigDocument) -> ModelConfig {
    let stack = |source: &DecoderConfig| StackConfig { vocab: source.stack.vocab.min(ROWS), ..source.stack.clone() };
    let (encoder, stack) = (stack(encoder), stack(decoder));
    let token = end_of_image(document);
    ModelConfig {
        encoder: StackConfig { own_row_token: ((token as usize) < encoder.vocab).then_some(token), ..encoder },
        decoder: stack,
        tie_word_embeddings: decoder.tie_word_embeddings,
        start_token: decoder.bos_token,
        end_tokens: decoder.end_tokens.clone(),
        pad_token: decoder.pad_token,
        bos_token: decoder.bos_token,
    }
}

/// The content of `config.json`.
pub(super) fn merged_text(adapted: &AdaptedConfig<'_>) -> Value {
    let AdaptedConfig { model, encoder, decoder, dtype, .. } = *adapted;
    let end_of_image = end_of_image(decoder.document);
    let initializer_range = decoder.document.source_initializer_range();
    json!({
        "architectures": ["T5Gemma2ForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": model.bos_token,
        "classifier_dropout_rate": 0.0,
        "decoder": stack(decoder, model, "t5gemma2_decoder"),
        "dropout_rate": 0.0,
        "dtype": dtype_name(dtype),
        "encoder": {
            "boi_token_index": BEGIN_OF_IMAGE,
            "eoi_token_index": end_of_image,
            "image_token_index": IMAGE,
            "initializer_range": initializer_range,
            "mm_tokens_per_image": 256,
            "model_type": "t5gemma2_encoder",
            "text_config": stack(encoder, model, "t5gemma2_text"),
            "tie_word_embeddings": true,
            "vision_config": smallest_tower(),
        },
        "eoi_token_index": end_of_image,
        "eos_token_id": end_tokens(decoder),
        "image_token_index": IMAGE,
        "initializer_range": initializer_range,
        "is_encoder_decoder": true,
        "model_type": T5GEMMA2,
        "pad_token_id": model.pad_token,
        "tie_word_embeddings": true,
        "transformers_version": "5.17.0",
        "vocab_size": model.decoder.vocab,
    })
}

fn end_of_image(document: &ConfigDocument) -> u32 {
    let named = document.config[END_OF_IMAGE].as_u64().and_then(|token| u32::try_from(token).ok());
    named.unwrap_or(DEFAULT_END_OF_IMAGE)
}

fn stack(source: AdaptedSource<'_>, model: &ModelConfig, model_type: &str) -> Value {
    let ropes = source.config.stack.ropes;
    let own = json!({
        "model_type": model_type,
        "rope_parameters": {"full_attention": rope(ropes.full), "sliding_attention": rope(ropes.sliding)},
        "tie_word_embeddings": true,
    });
    stack_with(source, model, own)
}

fn rope(spec: RopeSpec) -> Value {
    let theta = decimal(spec.theta);
    match spec.scaling {
        RopeScaling::None => json!({"rope_theta": theta, "rope_type": "default"}),
        RopeScaling::Linear { factor } => {
            json!({"factor": decimal(factor), "rope_theta": theta, "rope_type": "linear"})
        }
    }
}

/// The smallest image tower: transformers makes one in every T5Gemma 2, and none of its tensors is written.
fn smallest_tower() -> Value {
    json!({
        "attention_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 16,
        "image_size": 64,
        "intermediate_size": 16,
        "layer_norm_eps": 1e-6,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 1,
        "num_channels": 3,
        "num_hidden_layers": 1,
        "patch_size": 4,
        "vision_use_head": false,
    })
}
