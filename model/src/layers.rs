//! The layers of both stacks: weights packed for a backend, with the equations that run over them.
//!
//! Loaded by `weights`; run by [`crate::Model`] and [`crate::EncoderModel`]. Layers allocate nothing: every buffer is
//! handed in.

mod cross_attention;
mod decoder;
mod embedding;
mod encoder;
mod feed_forward;
mod merged_attention;
mod ropes;
mod self_attention;
mod space;
mod stack;

pub(crate) use cross_attention::CrossAttention;
pub(crate) use decoder::{DecoderAttention, DecoderLayer};
pub(crate) use embedding::{Embedding, OwnEmbedding, Tables};
pub(crate) use encoder::EncoderLayer;
pub(crate) use feed_forward::FeedForward;
pub(crate) use ropes::Ropes;
pub(crate) use self_attention::{HeadGains, SelfAttention};
pub(crate) use space::{BufferShape, CrossSpace, DecoderSpace, StackSpace};
pub(crate) use stack::Stack;
