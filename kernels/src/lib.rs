//! Numbers in, numbers out: the closed set of ops an encoder-decoder needs.
//!
//! Each op is a method of a part of [`Backend`]. [`reference`] implements it slowly and obviously, [`cpu`] and
//! [`cuda`] fast; one table of cases (`tests/cases`) holds every implementation to the reference. Nothing here knows
//! a layer, a request or a checkpoint format.

mod attention;
pub mod backend;
pub mod cpu;
pub mod cuda;
mod error;
pub mod gradient;
mod isa;
pub mod math;
mod number;
mod paging;
mod product_speed;
pub mod profiled;
pub mod quantize;
pub mod reference;
mod rope;
pub mod sampling;
mod weights;

pub use attention::{AttentionShape, FullAttention, KvSide, PagedAttention, QueryRows, STRIP_KEYS, Segment, Window};
pub use backend::{
    AttentionOps, Backend, Bandwidth, ChosenRows, DrawnRows, GatedRows, HeadNorms, KernelCost, KvColumns, LinearRows,
    Lookup, Norm, OutputLayer, Outputs, OwnRow, ProductOps, RotaryHeads, RotaryRows, RowOps, SamplingOps, Sandwich,
    SeamRows, SpeedMeter, Storage, Stream,
};
pub use error::{Error, Result};
pub use number::{DType, Precision};
pub use paging::{KvFormat, LayerPages, LayerPagesMut, PAGE_TOKENS, PageCopy, PageShape, PageSpan, PagedRows};
pub use product_speed::products_per_s;
pub use profiled::Profiled;
pub use quantize::Scheme;
pub use rope::{RopeScaling, RopeSpec};
pub use sampling::{
    BestAsk, Candidate, Draw, DrawRule, DrawRules, Draws, LogitEdit, NO_PLACE, RuleId, Sampling, ScoreAsk, TokenMask,
    TokenScore,
};
pub use weights::{MatrixUse, QuantizedRowMut, WeightFormat, WeightPart};
