//! The encoder: sources in, final-normed states out, some layers or parts of layers at a time.
//!
//! A layer is `x += post(attention(pre(x))); x += post(feed_forward(pre(x)))`. Each post-norm, residual addition and
//! next pre-norm is one [`StackPass::seam`]. The first part of a layer projects the keys and values of all rows, which
//! the layer's other parts read.

use std::ops::Range;

use kernels::Backend;

use super::feed_forward::FeedForward;
use super::self_attention::SelfAttention;
use super::space::StackSpace;
use super::stack::{Layer, Stack, StackPass};
use crate::encoder_parts::{EncoderParts, rows_of_part};
use crate::rows::{RowTokens, SourceRows};

/// Weights of an encoder layer.
pub(crate) struct EncoderLayer<B: Backend> {
    pub attention: SelfAttention<B>,
    pub feed_forward: FeedForward<B>,
    /// Whether a query may see most of the longest source.
    pub is_wide: bool,
}

impl<B: Backend> Stack<B, EncoderLayer<B>> {
    /// Runs `parts`. The embedding comes before the first; after the last, `space.x` is the encoder's output.
    pub fn run(&self, pass: &StackPass<'_, B, SourceRows<'_>>, parts: &EncoderParts, space: &mut StackSpace<B>) {
        let EncoderParts { range, of_layer } = parts;
        if range.start == 0 {
            pass.embed(&RowTokens::Host(pass.rows.tokens), self.norm_before(0), space);
        }
        let mut first = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            let count = if layer.is_wide { of_layer.wide } else { of_layer.narrow };
            for part in range.start.max(first)..range.end.min(first + count) {
                if part == first {
                    layer.attention.project_rows(pass, space);
                }
                let rows = rows_of_part(pass.rows.tokens.len(), part - first, count);
                if !rows.is_empty() {
                    layer.run(pass, rows, self.norm_before(index + 1), space);
                }
            }
            first += count;
        }
    }
}

impl<B: Backend> EncoderLayer<B> {
    /// Runs the layer for some rows, once all are projected.
    fn run(
        &self,
        pass: &StackPass<'_, B, SourceRows<'_>>,
        rows: Range<usize>,
        next: &B::Gain,
        space: &mut StackSpace<B>,
    ) {
        let Self { attention, feed_forward, .. } = self;
        attention.attend_bidirectional(pass, rows.clone(), space);
        pass.seam(&attention.post, &feed_forward.pre, rows.clone(), space);
        feed_forward.run(pass.backend, rows.clone(), space);
        pass.seam(&feed_forward.post, next, rows, space);
    }
}

impl<B: Backend> Layer<B> for EncoderLayer<B> {
    fn pre(&self) -> &B::Gain {
        &self.attention.pre
    }
}
