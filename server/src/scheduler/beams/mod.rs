//! Beam search: which branches go on, which hypotheses are kept, and when a search is over.
//!
//! Used by the scheduler's commit. Knows token ids and log-probabilities; no pages, rows or requests:
//! whatever else it has to know of its branches it asks its host.

mod beam;
mod best_first;
mod host;
mod hypothesis;
mod open;
mod search;
#[cfg(test)]
pub(in crate::scheduler) mod tests;

pub use beam::{Beam, Beginning, SearchBounds, common};
pub use best_first::{BestFirst, ExactBounds};
pub use host::Host;
pub use search::{Next, Search};
