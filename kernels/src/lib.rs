//! Numbers in, numbers out: the closed set of ops an encoder-decoder needs.
//!
//! Each op is a method of [`Backend`]. [`reference`] implements it slowly and obviously, [`cpu`] fast; the
//! table in [`cases`] holds every implementation to the reference. Nothing here knows a layer, a request
//! or a checkpoint format.

pub mod backend;
pub mod sampling;

pub use backend::{
    AttentionShape, Backend, DType, Error, MatrixUse, PAGE_TOKENS, PageSpan, PagedRows, Precision, Result, Segment,
    WeightPart,
};
pub use sampling::{Candidate, Choice, Sampling};
