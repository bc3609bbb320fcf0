//! A request for what the encoder makes of a source, without a target, and the engine's answer.
//!
//! Lengths and ids are checked before such a request reaches the engine, as those of a generation are.

use std::sync::Arc;

use super::event::FailureKind;

pub use model::Readout;

/// One source and what is wanted of its final states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeRequest {
    /// Encoder ids, at least one.
    pub source: Arc<[u32]>,
    /// The result that is read of the states.
    pub readout: Readout,
}

impl EncodeRequest {
    /// Number of source tokens.
    pub fn tokens(&self) -> usize {
        self.source.len()
    }
}

/// An event of an encoder request's stream.
#[derive(Debug, Clone, PartialEq)]
pub enum EncodingEvent {
    /// The source entered the encoder. Sent once, first.
    Started,
    /// The result; no event follows.
    Encoded {
        /// Finite numbers, row after row, in the shape that [`Readout`] gives.
        numbers: Vec<f32>,
    },
    /// The request failed; no event follows.
    Failed {
        /// Message for the client.
        message: String,
        /// Where the fault lies.
        kind: FailureKind,
    },
}
