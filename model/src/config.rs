//! A checkpoint's configuration: the widths, heads, layers and token ids that everything else is built from.
//!
//! Made by [`ModelConfig::from_json`] or by `shapes`; read all over this crate and by the server. Every value
//! has been checked by the time a `ModelConfig` exists, so nobody downstream checks again.

mod classifier;
mod decoder_only;
mod documents;
mod fields;
mod generation;
pub(crate) mod quantization;
mod read;
mod stack;

use std::path::Path;

use kernels::Scheme;

use crate::error::Result;

pub use classifier::ClassifierConfig;
pub(crate) use classifier::named_twice;
pub use decoder_only::DecoderConfig;

/// Field of `config.json` that says where cross-attention comes from, when it has not been trained yet.
pub(crate) const CROSS_ATTENTION_FIELD: &str = "encdec_cross_attention";
/// The field's value for weights drawn at random.
pub(crate) const CROSS_ATTENTION_RANDOM: &str = "random";
/// Field of the encoder's configuration that marks one trained with a causal mask; no other program knows it.
pub(crate) const CAUSAL_ENCODER: &str = "encdec_causal";

/// A whole encoder-decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The stack that reads the source.
    pub encoder: StackConfig,
    /// The stack that writes the target.
    pub decoder: StackConfig,
    /// Whether the output table is the decoder's embedding table.
    pub tie_word_embeddings: bool,
    /// First token of every target.
    pub start_token: u32,
    /// Tokens that end a text; never empty.
    pub end_tokens: Vec<u32>,
    /// Filler of padded batches elsewhere; never produced here.
    pub pad_token: u32,
    /// Token that opens a text.
    pub bos_token: u32,
}

/// What `config.json` says: the model, and how its tensors are stored.
pub(crate) struct ConfigFile {
    pub model: ModelConfig,
    /// What the matrices of the layers are quantised to.
    pub scheme: Option<Scheme>,
    /// Keys of `generation_config.json` that ask for something nobody here does.
    pub ignored_generation_keys: Vec<String>,
}

/// Longest sequences that a model will be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionLimits {
    /// Tokens of a source.
    pub source_tokens: usize,
    /// Tokens of a target.
    pub target_tokens: usize,
}

/// One of the two stacks.
#[derive(Debug, Clone, PartialEq)]
pub struct StackConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the gated MLP.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; even. `heads * head_dim` need not equal `hidden`.
    pub head_dim: usize,
    /// Scores are multiplied by this to the power -1/2; need not equal `head_dim`.
    pub query_pre_attn_scalar: f32,
    /// Epsilon of every norm.
    pub rms_norm_eps: f32,
    /// Base of the rotary angles.
    pub rope_theta: f32,
    /// Softcap of attention scores.
    pub attn_softcap: Option<f32>,
    /// Softcap of logits (of no effect in the encoder).
    pub final_softcap: Option<f32>,
    /// Window of the sliding layers, in tokens.
    pub sliding_window: usize,
    /// One entry a layer.
    pub layer_kinds: Vec<LayerKind>,
    /// Token ids, `0 .. vocab`; the same in both stacks.
    pub vocab: usize,
    /// Longest sequence the stack was made for, in tokens.
    pub max_positions: usize,
}

/// What a layer's self-attention sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Positions within the window.
    Sliding,
    /// All positions.
    Full,
}

impl ModelConfig {
    /// Reads `config.json` and, where there is one, `generation_config.json`, whose end and start tokens win.
    /// Both published dialects are understood (`rope_theta` or `rope_parameters`, `torch_dtype` or `dtype`).
    ///
    /// # Errors
    /// One error that lists every missing or unusable piece; `path` is the file it names.
    pub fn from_json(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<Self> {
        ConfigFile::read(path, config, generation).map(|file| file.model)
    }

    /// Numbers in all weights, the tied output table counted once.
    pub fn parameters(&self) -> u64 {
        let encoder = self.encoder.own_parameters();
        let decoder = self.decoder.own_parameters() + self.cross_parameters();
        let output = if self.tie_word_embeddings { 0 } else { self.decoder.embedding_parameters() };
        encoder + decoder + output + self.encoder.embedding_parameters() + self.decoder.embedding_parameters()
    }

    /// Shortens the sequences that the stacks are made for, where they are longer: memory that grows with positions is
    /// then taken for those that can come.
    pub fn limit_positions(&mut self, limits: PositionLimits) {
        self.encoder.max_positions = self.encoder.max_positions.min(limits.source_tokens);
        self.decoder.max_positions = self.decoder.max_positions.min(limits.target_tokens);
    }

    fn cross_parameters(&self) -> u64 {
        let stack = &self.decoder;
        let own = 2 * stack.hidden * stack.query_width();
        let from_encoder = 2 * self.encoder.hidden * stack.kv_width();
        (stack.layers * (own + from_encoder + 2 * stack.hidden)) as u64
    }
}

impl ConfigFile {
    /// As [`ModelConfig::from_json`].
    pub fn read(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<Self> {
        read::read(path, config, generation)
    }
}

impl StackConfig {
    /// Width of all query heads together.
    pub const fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub const fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// The window of a layer, if it has one.
    pub fn window(&self, layer: usize) -> Option<usize> {
        match self.layer_kinds[layer] {
            LayerKind::Sliding => Some(self.sliding_window),
            LayerKind::Full => None,
        }
    }

    fn own_parameters(&self) -> u64 {
        let attention = 2 * self.hidden * (self.query_width() + self.kv_width());
        let layer = attention + 3 * self.hidden * self.intermediate + 4 * self.hidden;
        (self.layers * layer + self.hidden) as u64
    }

    fn embedding_parameters(&self) -> u64 {
        (self.vocab * self.hidden) as u64
    }
}

/// The published alternation: a sliding layer first, then a full one, and so on.
pub(crate) fn alternating(layers: usize) -> Vec<LayerKind> {
    (0..layers).map(|layer| if layer % 2 == 0 { LayerKind::Sliding } else { LayerKind::Full }).collect()
}
