//! Searches over models of a few ids, against a search through everything and against transformers' own loop.

mod best_first;
mod exhaustive;
pub mod plain_search;
mod random;

pub use random::early_stopping;
