//! Beam search: which branches go on, which hypotheses are kept, and when a search is over.
//!
//! Used by the scheduler's commit. Knows token ids and log-probabilities; no pages, rows or requests.

mod hypothesis;
mod search;
#[cfg(test)]
pub(in crate::scheduler) mod tests;

pub use search::{Search, SearchBounds};
