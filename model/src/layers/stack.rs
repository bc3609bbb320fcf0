//! A stack: an embedding, layers over one residual stream, and a final norm.
//!
//! Encoder and decoder are stacks of different layers; files of those names define them.

use kernels::{Backend, Norm, Sandwich, SeamRows};

use super::embedding::Embedding;
use super::space::StackSpace;
use crate::arithmetic::Arithmetic;
use crate::rows::RowTokens;

/// Weights of a stack.
pub(crate) struct Stack<B: Backend, L> {
    pub embedding: Embedding<B>,
    /// Epsilon of every norm.
    pub eps: f32,
    pub layers: Vec<L>,
    /// Norm of the stack's output.
    pub norm: B::Gain,
    pub rope: B::RopeTable,
}

/// A layer of a stack.
pub(crate) trait Layer<B: Backend> {
    /// Norm before the first sub-layer.
    fn pre(&self) -> &B::Gain;
}

/// Backend, arithmetic and rows that the layers of a stack share in one run.
pub(crate) struct StackPass<'a, B: Backend, Rows> {
    pub backend: &'a B,
    pub arithmetic: Arithmetic,
    pub rows: Rows,
    pub rope: &'a B::RopeTable,
    eps: f32,
}

impl<B: Backend, L: Layer<B>> Stack<B, L> {
    /// A pass of `rows` through this stack.
    pub fn pass<'a, Rows>(&'a self, backend: &'a B, arithmetic: Arithmetic, rows: Rows) -> StackPass<'a, B, Rows> {
        StackPass { backend, arithmetic, rows, rope: &self.rope, eps: self.eps }
    }

    /// `residual = embedding(tokens); x = pre(residual)`: the input of the first layer.
    pub fn embed(&self, backend: &B, tokens: &RowTokens<'_, B::Drawn>, space: &mut StackSpace<B>) {
        self.embedding.embed(backend, tokens, &mut space.residual);
        let norm = Norm { gain: self.norm_before(0), eps: self.eps };
        backend.rms_norm(&space.residual, norm, tokens.count(), &mut space.x);
    }

    /// Norm before layer `index`; the stack's final norm after the last layer.
    pub fn norm_before(&self, index: usize) -> &B::Gain {
        self.layers.get(index).map_or(&self.norm, Layer::pre)
    }
}

impl<B: Backend, Rows> StackPass<'_, B, Rows> {
    /// `residual += post(y); x = pre(residual)`: ends a sub-layer and begins the next.
    pub fn seam(&self, post: &B::Gain, pre: &B::Gain, rows: usize, space: &mut StackSpace<B>) {
        let norms = Sandwich { post, pre, eps: self.eps };
        let StackSpace { residual, x, y, .. } = space;
        self.backend.sandwich(y, norms, rows, SeamRows { residual, x });
    }
}
