//! Settings of the model: where it starts from, its mask and dropout, and the number type of the saved weights.
//!
//! Part of `settings`; read by `network` and `state`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of the model.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Folder of the checkpoint to start from: T5Gemma, decoder-only Gemma 2, or either with a classification head.
    pub init: Option<PathBuf>,
    /// Instead of `init`: a `config.json` whose shape gets random weights.
    pub config: Option<PathBuf>,
    /// A `tokenizer.json`, or a folder that has one; by default that of `init`. Not needed for rows of token ids.
    pub tokenizer: Option<PathBuf>,
    /// Mask of the encoder; `causal` is an ablation and cannot be served.
    #[serde(default)]
    pub encoder_attention: EncoderAttention,
    /// Share of the residual branches, embeddings and MLP products that is dropped.
    #[serde(default)]
    pub dropout: f32,
    /// Share of the attention probabilities that is dropped.
    #[serde(default)]
    pub attention_dropout: f32,
    /// Share of the classification head's input that is dropped.
    #[serde(default)]
    pub classifier_dropout: f32,
    /// Recompute each layer in the backward pass instead of keeping its activations: less memory, a third more time.
    #[serde(default)]
    pub activation_checkpointing: bool,
    /// Number type of the weights that are written for serving.
    #[serde(default)]
    pub save_as: SavedPrecision,
}

/// Mask of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderAttention {
    /// A token sees all tokens (within the window of sliding layers).
    #[default]
    Bidirectional,
    /// A token sees itself and earlier ones.
    Causal,
}

/// Number type of the weights in checkpoints that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedPrecision {
    /// float32.
    F32,
    /// bfloat16, rounded to nearest even.
    #[default]
    Bf16,
}
