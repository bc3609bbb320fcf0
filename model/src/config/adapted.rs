//! `config.json` and `generation_config.json` of an encoder-decoder that is adapted from two decoder-only models, as
//! transformers 5.17 writes them.
//!
//! Called by `adaptation`. Values come from the checked configurations, so that both dialects of a source end alike.

use kernels::DType;
use serde_json::{Value, json};

use super::adapted_merged::merged_text;
use super::architecture::Generation;
use super::decoder_only::DecoderConfig;
use super::document::ConfigDocument;
use super::edits::{CROSS_ATTENTION_FIELD, CROSS_ATTENTION_RANDOM};
use super::encoder_decoder::ModelConfig;
use super::saved::dtype_name;
use super::stack::{LayerKind, StackConfig};

/// One of the two decoder-only models.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdaptedSource<'a> {
    pub config: &'a DecoderConfig,
    pub document: &'a ConfigDocument,
}

/// The encoder-decoder and what it is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdaptedConfig<'a> {
    pub model: &'a ModelConfig,
    pub encoder: AdaptedSource<'a>,
    pub decoder: AdaptedSource<'a>,
    /// Whether cross-attention is drawn at random.
    pub random_cross_attention: bool,
    /// The number type that holds every tensor's numbers.
    pub dtype: DType,
}

impl AdaptedConfig<'_> {
    /// The text of `config.json`.
    pub fn text(&self) -> String {
        let Self { model, encoder, decoder, .. } = self;
        if model.decoder.generation == Generation::Gemma3 {
            return text(&merged_text(self));
        }
        let mut decoder_stack = stack(*decoder, model);
        decoder_stack["is_decoder"] = json!(true);
        decoder_stack["cross_attention_hidden_size"] = json!(model.encoder.hidden);
        let mut written = json!({
            "architectures": ["T5GemmaForConditionalGeneration"],
            "attention_dropout": 0.0,
            "bos_token_id": model.bos_token,
            "classifier_dropout_rate": 0.0,
            "decoder": decoder_stack,
            "dropout_rate": 0.0,
            "dtype": dtype_name(self.dtype),
            "encoder": stack(*encoder, model),
            "eos_token_id": end_tokens(*decoder),
            "initializer_range": decoder.document.source_initializer_range(),
            "is_encoder_decoder": true,
            "model_type": "t5gemma",
            "pad_token_id": model.pad_token,
            "tie_word_embeddings": model.tie_word_embeddings,
            "transformers_version": "5.17.0",
            "vocab_size": model.decoder.vocab,
        });
        if self.random_cross_attention {
            written[CROSS_ATTENTION_FIELD] = json!(CROSS_ATTENTION_RANDOM);
        }
        text(&written)
    }
}

impl AdaptedSource<'_> {
    /// The text of `generation_config.json` of an encoder-decoder with this decoder: the decoder's own, with the token
    /// that opens a target, and without what it says of its origin and of a decoder-only model's cache.
    pub fn generation_text(&self) -> String {
        let mut written = self.document.generation.clone().unwrap_or_else(|| json!({}));
        for field in ["_from_model_config", "cache_implementation"] {
            if let Some(fields) = written.as_object_mut() {
                fields.shift_remove(field);
            }
        }
        written["bos_token_id"] = json!(self.config.bos_token);
        written["decoder_start_token_id"] = json!(self.config.bos_token);
        written["eos_token_id"] = tokens(&self.config.end_tokens);
        written["pad_token_id"] = json!(self.config.pad_token);
        text(&written)
    }
}

fn stack(source: AdaptedSource<'_>, model: &ModelConfig) -> Value {
    let theta = decimal(source.config.stack.ropes.full.theta);
    let own = json!({
        "is_decoder": false,
        "model_type": "t5_gemma_module",
        "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
        "tie_word_embeddings": model.tie_word_embeddings,
    });
    stack_with(source, model, own)
}

/// The fields of a stack that both generations have, with its own, in transformers' order.
pub(super) fn stack_with(source: AdaptedSource<'_>, model: &ModelConfig, own: Value) -> Value {
    let stack = &source.config.stack;
    let mut written = json!({
        "attention_bias": false,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": stack.attn_softcap.map(decimal),
        "bos_token_id": model.bos_token,
        "dropout_rate": 0.0,
        "eos_token_id": end_tokens(source),
        "final_logit_softcapping": stack.final_softcap.map(decimal),
        "head_dim": stack.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": stack.hidden,
        "initializer_range": source.document.source_initializer_range(),
        "intermediate_size": stack.intermediate,
        "layer_types": layer_types(stack),
        "max_position_embeddings": stack.max_positions,
        "num_attention_heads": stack.heads,
        "num_hidden_layers": stack.layers,
        "num_key_value_heads": stack.kv_heads,
        "pad_token_id": model.pad_token,
        "query_pre_attn_scalar": whole_if_possible(stack.query_pre_attn_scalar),
        "rms_norm_eps": decimal(stack.rms_norm_eps),
        "sliding_window": stack.sliding_window,
        "use_cache": true,
        "vocab_size": model.decoder.vocab,
    });
    if let (Some(fields), Value::Object(own)) = (written.as_object_mut(), own) {
        fields.extend(own);
        fields.sort_keys();
    }
    written
}

fn layer_types(stack: &StackConfig) -> Vec<&'static str> {
    let name = |kind: &LayerKind| match kind {
        LayerKind::Sliding => "sliding_attention",
        LayerKind::Full => "full_attention",
    };
    stack.layer_kinds.iter().map(name).collect()
}

/// The end tokens of the source's `config.json`; its `generation_config.json` may name more.
pub(super) fn end_tokens(source: AdaptedSource<'_>) -> Value {
    match &source.document.config["eos_token_id"] {
        Value::Null => tokens(&source.config.end_tokens),
        own => own.clone(),
    }
}

fn tokens(ids: &[u32]) -> Value {
    if let [only] = ids { json!(only) } else { json!(ids) }
}

/// The shortest decimal of a float32: 1e-06 rather than all digits of the nearest float32.
pub(super) fn decimal(number: f32) -> f64 {
    number.to_string().parse().expect("the text of a finite number is a number")
}

/// A whole number where it is one, as transformers expects.
fn whole_if_possible(number: f32) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(decimal(number)) }
}

fn text(json: &Value) -> String {
    format!("{json:#}\n")
}
