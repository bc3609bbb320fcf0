//! The op vocabulary. A backend is a device that runs all of it: the reference, the CPU, CUDA.
//!
//! Called by `model`. Ops take flat ragged rows, `[rows, width]`, row-major; nothing is padded. Buffers belong to the
//! backend, and each op says which it reads and writes. Pages are addressed by index; callers own the page tables.

mod attention;
mod products;
mod rows;
mod sampling;
mod storage;
mod stream;

pub use attention::{AttentionOps, KvColumns, RotaryRows};
pub use products::{GatedRows, LinearRows, OutputLayer, Outputs, ProductOps};
pub use rows::{DrawnRows, HeadNorms, Lookup, Norm, OwnRow, RotaryHeads, RowOps, Sandwich, SeamRows};
pub use sampling::{ChosenRows, SamplingOps};
pub use storage::Storage;
pub use stream::{Bandwidth, KernelCost, SpeedMeter, Stream};

pub use crate::attention::{AttentionShape, FullAttention, KvSide, PagedAttention, Segment, Window};
pub use crate::error::{Error, Result};
pub use crate::number::Precision;
pub use crate::paging::{KvFormat, LayerPages, LayerPagesMut, PAGE_TOKENS, PageCopy, PageShape, PageSpan, PagedRows};
pub use crate::rope::{RopeScaling, RopeSpec};

/// All ops together.
///
/// Promise of every implementation: a row's result depends on that row's inputs alone, bit for bit, not on the other
/// rows of the batch, nor on the number of threads.
pub trait Backend: Stream + Storage + RowOps + ProductOps + AttentionOps + SamplingOps + Send + 'static {}

impl<B> Backend for B where B: Stream + Storage + RowOps + ProductOps + AttentionOps + SamplingOps + Send + 'static {}
