//! Stop strings of a beam search: whether a line of tokens is at its end, given its text.
//!
//! Built by `api` from the tokenizer and the strings; asked by the scheduler for the candidates of each branch. A
//! choice without a search needs none: `api` cuts its text, and cancels it.

use std::fmt;
use std::sync::Arc;

/// The text of a line of generated tokens, as far as stop strings need it.
pub trait StopScan: fmt::Debug + Send + Sync {
    /// A copy that goes on by itself.
    fn fork(&self) -> Box<dyn StopScan>;

    /// Goes on by a token. Returns whether its text completes a stop string, which ends the line.
    fn push(&mut self, token: u32) -> bool;
}

/// A shared [`StopScan`] before the first generated token. Equal to itself and its clones only.
#[derive(Debug, Clone)]
pub struct StopCheck(Arc<dyn StopScan>);

impl StopCheck {
    /// Shares the scan of a line without tokens.
    pub fn new(start: impl StopScan + 'static) -> Self {
        Self(Arc::new(start))
    }

    /// The scan of a line without tokens.
    pub fn start(&self) -> Box<dyn StopScan> {
        self.0.fork()
    }
}

impl PartialEq for StopCheck {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
