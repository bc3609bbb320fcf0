//! `report.html` of a run: curves, samples and settings in one file that needs nothing else.
//!
//! Written after each validation and at the end. Knows nothing of training.

mod chart;
mod number;
mod page;
mod scale;

pub(super) use number::duration;
pub(super) use page::Page;
