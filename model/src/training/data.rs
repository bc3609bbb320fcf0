//! Rows on disk to batches in a fixed order: reading, the token cache, grouping, positions.
//!
//! Opened by the training run; `objective` makes rows into examples. Nothing here keeps state that a resumed run would
//! have to restore: a [`Position`] is two numbers.

mod cache;
mod data_set;
mod feed;
mod ids;
mod lines;
mod order;
mod packed;
mod raw_row;
mod reading;
mod single;
mod tokenise;

pub use data_set::DataSet;
pub use feed::{BatchSettings, Feed, Position};
pub use raw_row::{Content, Problem, RawRow, RowKind, read_rows};
pub use reading::{CacheProgress, Reading, Report};
pub use single::{Maker, Single};

pub(in crate::training) use data_set::Row;
pub(in crate::training) use ids::Ids;
pub(in crate::training) use lines::hash_of;
