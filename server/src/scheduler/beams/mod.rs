//! Beam search: which branches go on, which hypotheses are kept, and when a search is over.
//!
//! Used by the scheduler's commit. Knows token ids and log-probabilities; no pages, rows or requests:
//! whatever else it has to know of its branches it asks its host.

mod host;
mod hypothesis;
mod search;
#[cfg(test)]
pub(in crate::scheduler) mod tests;

pub use host::Host;
pub use search::{Beginning, Search, SearchBounds};
