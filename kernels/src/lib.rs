//! Numbers in, numbers out: the closed set of ops an encoder-decoder needs.
//!
//! Each op is a method of [`Backend`]. [`reference`] implements it slowly and obviously, [`cpu`] and [`cuda`] fast; one
//! table of cases (`tests/cases`) holds every implementation to the reference. Nothing here knows a layer, a request
//! or a checkpoint format.

pub mod backend;
pub mod cpu;
pub mod cuda;
mod error;
pub mod gradient;
pub mod math;
pub mod profiled;
pub mod quantize;
pub mod reference;
pub mod sampling;
mod weights;

pub use backend::{
    AttentionShape, Backend, Bandwidth, Draw, Error, KernelCost, KvFormat, LinearRows, NO_PLACE, Output, PAGE_TOKENS,
    PageShape, PageSpan, PagedRows, Precision, Result, Sandwich, Segment,
};
pub use profiled::Profiled;
pub use quantize::Scheme;
pub use sampling::{Candidate, Choice, Sampling, ScoreAsk, TokenScore};
pub use weights::{DType, MatrixUse, WeightFormat, WeightPart};
