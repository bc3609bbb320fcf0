//! `config.json` and `generation_config.json` of an encoder-decoder, in the form that transformers 5.17 writes.
//!
//! Called by `adaptation`. Values come from the checked configurations, so that both dialects of a source end alike.

use kernels::DType;
use serde_json::{Value, json};

use super::pair::Pair;
use crate::checkpoint::DecoderCheckpoint;
use crate::config::{CROSS_ATTENTION_FIELD, CROSS_ATTENTION_RANDOM, LayerKind, ModelConfig, StackConfig};
use crate::error::{Error, Result};

/// Deviation of first weights where a source does not say one; transformers' default.
const INITIALIZER_RANGE: f64 = 0.02;

/// The deviation that the source's own weights were first drawn with.
pub(super) fn initializer_range(source: &DecoderCheckpoint) -> f64 {
    let own = source.config_json()["initializer_range"].as_f64();
    own.filter(|range| range.is_finite() && *range > 0.0).unwrap_or(INITIALIZER_RANGE)
}

/// `config.json`.
pub(super) fn config(pair: &Pair, config: &ModelConfig, dtype: DType) -> Value {
    let dtype = match dtype {
        DType::F32 => "float32",
        DType::Bf16 => "bfloat16",
        DType::F16 => "float16",
    };
    let mut decoder = stack(&pair.decoder, config, false);
    decoder["cross_attention_hidden_size"] = json!(config.encoder.hidden);
    let mut written = json!({
        "architectures": ["T5GemmaForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": config.bos_token,
        "classifier_dropout_rate": 0.0,
        "decoder": decoder,
        "dropout_rate": 0.0,
        "dtype": dtype,
        "encoder": stack(&pair.encoder, config, true),
        "eos_token_id": end_tokens(&pair.decoder),
        "initializer_range": initializer_range(&pair.decoder),
        "is_encoder_decoder": true,
        "model_type": "t5gemma",
        "pad_token_id": config.pad_token,
        "tie_word_embeddings": config.tie_word_embeddings,
        "transformers_version": "5.17.0",
        "vocab_size": config.decoder.vocab,
    });
    if !pair.is_balanced() {
        written[CROSS_ATTENTION_FIELD] = json!(CROSS_ATTENTION_RANDOM);
    }
    written
}

/// `generation_config.json`: the decoder source's with the token that opens a target, less what it says of itself and of
/// a decoder-only model's cache.
pub(super) fn generation(decoder: &DecoderCheckpoint) -> Result<Value> {
    let name = crate::checkpoint::folder::GENERATION_CONFIG;
    let mut written = match decoder.other_file(name)? {
        Some(text) => {
            serde_json::from_slice(&text).map_err(|source| Error::Json { path: decoder.origin().join(name), source })?
        }
        None => json!({}),
    };
    let config = decoder.config();
    for field in ["_from_model_config", "cache_implementation"] {
        if let Some(fields) = written.as_object_mut() {
            fields.shift_remove(field);
        }
    }
    written["bos_token_id"] = json!(config.bos_token);
    written["decoder_start_token_id"] = json!(config.bos_token);
    written["eos_token_id"] = tokens(&config.end_tokens);
    written["pad_token_id"] = json!(config.pad_token);
    Ok(written)
}

fn stack(source: &DecoderCheckpoint, config: &ModelConfig, is_encoder: bool) -> Value {
    let stack = &source.config().stack;
    json!({
        "attention_bias": false,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": stack.attn_softcap.map(decimal),
        "bos_token_id": config.bos_token,
        "dropout_rate": 0.0,
        "eos_token_id": end_tokens(source),
        "final_logit_softcapping": stack.final_softcap.map(decimal),
        "head_dim": stack.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": stack.hidden,
        "initializer_range": initializer_range(source),
        "intermediate_size": stack.intermediate,
        "is_decoder": !is_encoder,
        "layer_types": layer_types(stack),
        "max_position_embeddings": stack.max_positions,
        "model_type": "t5_gemma_module",
        "num_attention_heads": stack.heads,
        "num_hidden_layers": stack.layers,
        "num_key_value_heads": stack.kv_heads,
        "pad_token_id": config.pad_token,
        "query_pre_attn_scalar": whole_if_possible(stack.query_pre_attn_scalar),
        "rms_norm_eps": decimal(stack.rms_norm_eps),
        "rope_parameters": {"rope_theta": decimal(stack.rope_theta), "rope_type": "default"},
        "sliding_window": stack.sliding_window,
        "tie_word_embeddings": config.tie_word_embeddings,
        "use_cache": true,
        "vocab_size": stack.vocab,
    })
}

fn layer_types(stack: &StackConfig) -> Vec<&'static str> {
    let name = |kind: &LayerKind| match kind {
        LayerKind::Sliding => "sliding_attention",
        LayerKind::Full => "full_attention",
    };
    stack.layer_kinds.iter().map(name).collect()
}

/// As the source's `config.json` has them; its `generation_config.json` may know more.
fn end_tokens(source: &DecoderCheckpoint) -> Value {
    match &source.config_json()["eos_token_id"] {
        Value::Null => tokens(&source.config().end_tokens),
        own => own.clone(),
    }
}

fn tokens(ids: &[u32]) -> Value {
    if let [only] = ids { json!(only) } else { json!(ids) }
}

/// The number that was written, 1e-06 rather than the nearest float32 in full.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().expect("a finite number's own words are a number")
}

/// transformers takes it for a whole number.
fn whole_if_possible(number: f32) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(decimal(number)) }
}
