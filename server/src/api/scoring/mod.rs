//! Scoring: how well targets fit sources, by log p(target | source) or by the similarity of their embeddings.
//!
//! `POST /v1/score` answers in the order of the pairs, `/v1/rerank` (and `/rerank`, `/v2/rerank`) from best to worst.
//! Targets of one source share its encoding.

mod admission;
mod body;
mod call;
mod distinct;
mod documents;
mod fields;
mod handler;
mod message;
mod options;
mod order;
mod parse;
mod scores;
mod tokenise;

pub use fields::{RERANK_FIELDS, SCORE_FIELDS};
pub use handler::{rerank, score};
pub use message::{RankingMessage, ScoresMessage};
