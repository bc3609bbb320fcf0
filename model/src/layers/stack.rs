//! A stack: layers over one residual stream, and a final norm. It begins with an embedding, which several may share.
//!
//! Encoder and decoder are stacks of different layers; files of those names define them.

use std::ops::Range;

use kernels::{Backend, Norm, Sandwich, SeamRows};

use super::embedding::Embedding;
use super::ropes::Ropes;
use super::space::StackSpace;
use crate::arithmetic::Arithmetic;
use crate::rows::RowTokens;

/// Weights of a stack.
pub(crate) struct Stack<B: Backend, L> {
    /// Epsilon of every norm.
    pub eps: f32,
    pub layers: Vec<L>,
    /// Norm of the stack's output.
    pub norm: B::Gain,
    pub ropes: Ropes<B>,
}

/// A layer of a stack.
pub(crate) trait Layer<B: Backend> {
    /// Norm before the first sub-layer.
    fn pre(&self) -> &B::Gain;
}

/// Backend, arithmetic, rows and tables that the layers of a stack share in one run.
pub(crate) struct StackPass<'a, B: Backend, Rows> {
    pub backend: &'a B,
    pub arithmetic: Arithmetic,
    pub rows: Rows,
    pub embedding: &'a Embedding<B>,
    pub ropes: &'a Ropes<B>,
    /// Epsilon of every norm.
    pub eps: f32,
}

impl<B: Backend, L: Layer<B>> Stack<B, L> {
    /// A pass of `rows` through this stack, which begins with `embedding`.
    pub fn pass<'a, Rows>(
        &'a self,
        backend: &'a B,
        arithmetic: Arithmetic,
        embedding: &'a Embedding<B>,
        rows: Rows,
    ) -> StackPass<'a, B, Rows> {
        StackPass { backend, arithmetic, rows, embedding, ropes: &self.ropes, eps: self.eps }
    }

    /// Norm before layer `index`; the stack's final norm after the last layer.
    pub fn norm_before(&self, index: usize) -> &B::Gain {
        self.layers.get(index).map_or(&self.norm, Layer::pre)
    }
}

impl<B: Backend, Rows> StackPass<'_, B, Rows> {
    /// `residual = embedding(tokens); x = pre(residual)`: the input of the first layer.
    pub fn embed(&self, tokens: &RowTokens<'_, B::Drawn>, pre: &B::Gain, space: &mut StackSpace<B>) {
        self.embedding.embed(self.backend, tokens, &mut space.residual);
        let norm = Norm { gain: pre, eps: self.eps };
        self.backend.rms_norm(&space.residual, norm, tokens.count(), &mut space.x);
    }

    /// `residual += post(y); x = pre(residual)`: ends a sub-layer and begins the next.
    pub fn seam(&self, post: &B::Gain, pre: &B::Gain, rows: Range<usize>, space: &mut StackSpace<B>) {
        let norms = Sandwich { post, pre, eps: self.eps };
        let StackSpace { residual, x, y, .. } = space;
        self.backend.sandwich(y, norms, rows, SeamRows { residual, x });
    }
}
