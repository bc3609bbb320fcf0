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
    /// Token whose embedding is a vector of its own beside the table, not scaled: the end of an image in T5Gemma 2. The
    /// decoder of a T5Gemma 2 has no embedding of its own, and none of these.
    pub own_row_token: Option<u32>,
}

/// Rotary angles by the kind of layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerRopes {
    /// Angles of sliding layers.
    pub sliding: RopeSpec,
    /// Angles of full layers.
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
    /// Both kinds of layers with these angles.
    pub const fn alike(spec: RopeSpec) -> Self {
        Self { sliding: spec, full: spec }
    }

    /// Angles of a kind of layer.
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
            // The window is that of both sides and the position itself.
            Generation::Gemma3 => {
                let window = self.window(layer);
                let [left, right] = [|width: usize| width.div_ceil(2) - 1, |width: usize| width / 2];
                Window { left: window.map(left), right: window.map(right) }
            }
        }
    }

    /// Whether a query in a layer of an encoder may see more than half of the longest source.
    pub fn sees_most(&self, layer: usize) -> bool {
        self.encoder_window(layer).longest(self.max_positions) > self.max_positions / 2
    }

    /// Positions that a layer of a decoder sees: its window ends with its own.
    pub fn decoder_window(&self, layer: usize) -> Window {
        Window { left: self.window(layer).map(|window| window - 1), right: Some(0) }
    }

    /// Whether query and key heads are normed.
    pub const fn norms_heads(&self) -> bool {
        matches!(self.generation, Generation::Gemma3)
    }

    /// Numbers in the layers and the final norm, without cross-attention.
    pub(super) fn own_parameters(&self) -> u64 {
        let head_norms = if self.norms_heads() { 2 * self.head_dim } else { 0 };
        let attention = 2 * self.hidden * (self.query_width() + self.kv_width()) + head_norms;
        let layer = attention + 3 * self.hidden * self.intermediate + 4 * self.hidden;
        (self.layers * layer + self.hidden) as u64
    }

    /// Numbers in the embedding table and the row beside it.
    pub(crate) fn embedding_parameters(&self) -> u64 {
        let rows = self.vocab + usize::from(self.own_row_token.is_some());
        (rows * self.hidden) as u64
    }
}

/// The published alternation: every `period`th layer is a full one, those before it slide.
pub(crate) fn alternating(layers: usize, period: usize) -> Vec<LayerKind> {
    let kind = |layer: usize| if layer.is_multiple_of(period) { LayerKind::Full } else { LayerKind::Sliding };
    (1..=layers).map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::shape;

    #[test]
    fn the_encoder_of_the_second_generation_has_one_window_for_both_sides() {
        let mut stack = shape("2-270m").unwrap().encoder;
        let sides = |stack: &StackConfig, layer| {
            let Window { left, right } = stack.encoder_window(layer);
            (left, right)
        };
        assert_eq!(sides(&stack, 0), (Some(255), Some(256)), "of 512 positions");
        assert_eq!(sides(&stack, 5), (None, None));
        stack.sliding_window = 9;
        assert_eq!(sides(&stack, 0), (Some(4), Some(4)));
        stack.sliding_window = 1;
        assert_eq!(sides(&stack, 0), (Some(0), Some(0)));
        let first = shape("s-s").unwrap().encoder;
        assert_eq!(sides(&first, 0), (Some(4096), Some(4096)), "the first generation has it on either side");
    }
}
