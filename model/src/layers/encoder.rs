//! The encoder: sources in, final-normed states out, some layers at a time.
//!
//! A layer is `x += post(attention(pre(x))); x += post(feed_forward(pre(x)))`. Each post-norm, residual addition and
//! next pre-norm is one [`StackPass::seam`].

use std::ops::Range;

use kernels::Backend;

use super::feed_forward::FeedForward;
use super::self_attention::SelfAttention;
use super::space::StackSpace;
use super::stack::{Layer, Stack, StackPass};
use crate::rows::{RowTokens, SourceRows};

/// Weights of an encoder layer.
pub(crate) struct EncoderLayer<B: Backend> {
    pub attention: SelfAttention<B>,
    pub feed_forward: FeedForward<B>,
}

impl<B: Backend> Stack<B, EncoderLayer<B>> {
    /// Runs `layers`. The embedding comes before the first layer; after the last, `space.x` is the encoder's output.
    pub fn run(&self, pass: &StackPass<'_, B, SourceRows<'_>>, layers: Range<usize>, space: &mut StackSpace<B>) {
        if layers.start == 0 {
            pass.embed(&RowTokens::Host(pass.rows.tokens), self.norm_before(0), space);
        }
        for index in layers {
            self.layers[index].run(pass, self.norm_before(index + 1), space);
        }
    }
}

impl<B: Backend> EncoderLayer<B> {
    fn run(&self, pass: &StackPass<'_, B, SourceRows<'_>>, next: &B::Gain, space: &mut StackSpace<B>) {
        let Self { attention, feed_forward } = self;
        let rows = pass.rows.tokens.len();
        attention.attend_bidirectional(pass, space);
        pass.seam(&attention.post, &feed_forward.pre, rows, space);
        feed_forward.run(pass.backend, rows, space);
        pass.seam(&feed_forward.post, next, rows, space);
    }
}

impl<B: Backend> Layer<B> for EncoderLayer<B> {
    fn pre(&self) -> &B::Gain {
        &self.attention.pre
    }
}
