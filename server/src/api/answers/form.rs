//! The form of an answer: how its text, log-probabilities and usage are written, whole or as server-sent events.
//!
//! Driven by `whole` and `stream`, which share everything else.

use std::fmt::Debug;

use super::answer_budget::Repeats;
use super::choice::Piece;
use super::usage::Usage;
use crate::api::http::ApiError;

/// A piece of one choice of an answer.
#[derive(Debug)]
pub struct ChoicePiece {
    /// Index of the choice in the answer.
    pub index: usize,
    /// Its new text and tokens.
    pub piece: Piece,
}

/// Which optional blocks the choices of an answer carry.
#[derive(Debug, Clone, Copy)]
pub struct Blocks {
    /// `logprobs`; null without.
    pub log_probs: bool,
    /// `token_ids`; absent without.
    pub token_ids: bool,
    /// Tokens go by their ids in `logprobs`.
    pub tokens_as_ids: bool,
}

/// The form of one answer. Events are texts of server-sent events, empty where there are none.
pub trait AnswerForm: Debug + Send {
    /// Most bytes that the log-probabilities of a token with so many alternatives take on their way to a client: the
    /// engine's numbers, names in memory, and both as JSON.
    fn log_prob_bytes(&self, alternatives: usize) -> usize;

    /// Repetitions in the answer.
    fn repeats(&self) -> Repeats {
        Repeats::default()
    }

    /// About how many bytes the largest of its opening, closing and failure takes.
    fn end_bytes(&self) -> usize {
        0
    }

    /// The whole answer as JSON. Each choice has one piece.
    fn whole(&self, pieces: &[ChoicePiece], usage: &Usage) -> String;

    /// Events before the first piece.
    fn opening(&mut self) -> String {
        String::new()
    }

    /// Events of a piece. `usage` is that of the request so far.
    fn piece(&mut self, piece: &ChoicePiece, usage: &Usage) -> String;

    /// Events after the last piece, the end of the stream included.
    fn closing(&mut self, usage: &Usage) -> String;

    /// Events of an error that ends the stream.
    fn failure(&mut self, error: &ApiError) -> String {
        event(&error.body())
    }
}

/// An event with this data.
pub fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// The event that ends a stream.
pub const DONE: &str = "data: [DONE]\n\n";
