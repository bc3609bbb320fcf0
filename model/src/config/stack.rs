//! The sizes and choices of one stack of layers.
//!
//! Part of every configuration; read from JSON by `stack_fields`.

use kernels::{RopeSpec, Window};

use super::architecture::Generation;

/// One stack of layers.
#[derive(Debug, Clone, PartialEq)]
pub struct StackConfig {
    /// Generation of Gemma whose layers the stack has.
    pub generation: Generation,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the gated MLP.
    pub intermediate: usize,
    /// Number of layers.
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
    /// Rotary angles of each kind of layer.
    pub ropes: LayerRopes,
    /// Softcap of attention scores.
    pub attn_softcap: Option<f32>,
    /// Softcap of logits (of no effect in the encoder).
    pub final_softcap: Option<f32>,
    /// Window of the sliding layers, in tokens.
    pub sliding_window: usize,
    /// Kind of each layer, one entry a layer.
    pub layer_kinds: Vec<LayerKind>,
    /// Number of token ids, `0 .. vocab`; the same in both stacks.
    pub vocab: usize,
    /// Longest sequence the stack was made for, in tokens.
    pub max_positions: usize,
}

/// Rotary angles by the kind of layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerRopes {
    /// Those of sliding layers.
    pub sliding: RopeSpec,
    /// Those of full layers.
    pub full: RopeSpec,
}

/// The positions that a layer's self-attention sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Positions within the window.
    Sliding,
    /// All positions.
    Full,
}

impl LayerRopes {
    /// The same angles for both kinds.
    pub const fn alike(spec: RopeSpec) -> Self {
        Self { sliding: spec, full: spec }
    }

    /// Those of a kind of layer.
    pub const fn of(self, kind: LayerKind) -> RopeSpec {
        match kind {
            LayerKind::Sliding => self.sliding,
            LayerKind::Full => self.full,
        }
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

    /// Positions that a layer of an encoder sees around its own.
    pub fn encoder_window(&self, layer: usize) -> Window {
        match self.generation {
            Generation::Gemma2 => Window::symmetric(self.window(layer)),
        }
    }

    /// Positions that a layer of a decoder sees: its window ends with its own.
    pub fn decoder_window(&self, layer: usize) -> Window {
        Window { left: self.window(layer).map(|window| window - 1), right: Some(0) }
    }

    /// Numbers in the layers and the final norm, without cross-attention.
    pub(super) fn own_parameters(&self) -> u64 {
        let attention = 2 * self.hidden * (self.query_width() + self.kv_width());
        let layer = attention + 3 * self.hidden * self.intermediate + 4 * self.hidden;
        (self.layers * layer + self.hidden) as u64
    }

    /// Numbers in the embedding table.
    pub(super) fn embedding_parameters(&self) -> u64 {
        (self.vocab * self.hidden) as u64
    }
}

/// The published alternation: a sliding layer first, then a full one, and so on.
pub(crate) fn alternating(layers: usize) -> Vec<LayerKind> {
    (0..layers).map(|layer| if layer % 2 == 0 { LayerKind::Sliding } else { LayerKind::Full }).collect()
}
