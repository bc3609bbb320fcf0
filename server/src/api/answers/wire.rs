//! The JSON of answers, field by field as OpenAI writes it, with vLLM's names for what OpenAI lacks.
//!
//! Used by `whole` and `stream`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::choice::Piece;
use super::logprobs::LogProbs;
use crate::api::http::random_name;
use crate::request::FinishReason;

/// Fields that all messages of one answer share.
#[derive(Debug, Clone)]
pub struct Heading {
    id: String,
    created: u64,
    model: String,
    blocks: Blocks,
}

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
}

/// The `usage` field of a message.
#[derive(Debug, Clone, Copy)]
pub enum UsageField<'a> {
    /// No such field.
    Absent,
    /// `null`: the numbers come at the end of the stream.
    Later,
    /// The numbers.
    Now(&'a Usage),
}

impl Heading {
    /// A heading with an id of its own.
    pub fn new(model: &str, blocks: Blocks) -> Self {
        Self { id: format!("cmpl-{}", random_name()), created: unix_seconds(), model: model.to_owned(), blocks }
    }

    /// One message with the given choices.
    pub fn message(&self, pieces: &[ChoicePiece], usage: UsageField<'_>) -> String {
        let message = Message {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            choices: pieces.iter().map(|piece| self.choice(piece)).collect(),
            usage: match usage {
                UsageField::Absent => None,
                UsageField::Later => Some(None),
                UsageField::Now(usage) => Some(Some(usage.body())),
            },
        };
        serde_json::to_string(&message).expect("strings and numbers serialise")
    }

    fn choice<'a>(&self, piece: &'a ChoicePiece) -> ChoiceMessage<'a> {
        let ChoicePiece { index, piece } = piece;
        ChoiceMessage {
            index: *index,
            text: &piece.text,
            logprobs: self.blocks.log_probs.then_some(&piece.log_probs),
            finish_reason: piece.finish.map(FinishReason::name),
            prompt_token_ids: piece.prompt_token_ids.as_deref(),
            token_ids: self.blocks.token_ids.then_some(&piece.token_ids),
        }
    }
}

/// Tokens of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Source tokens of all prompts.
    pub prompt_tokens: u64,
    /// Source tokens whose cross K/V was there already.
    pub cached_tokens: u64,
    /// Generated tokens of all choices, end tokens included.
    pub completion_tokens: u64,
}

impl Usage {
    fn body(&self) -> UsageMessage {
        UsageMessage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.prompt_tokens + self.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: self.cached_tokens },
        }
    }
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<ChoiceMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageMessage>>,
}

#[derive(Serialize)]
struct ChoiceMessage<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<&'a LogProbs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<&'a [u32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<&'a Vec<u32>>,
}

#[derive(Serialize)]
struct UsageMessage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokensDetails,
}

#[derive(Serialize)]
struct PromptTokensDetails {
    cached_tokens: u64,
}

fn unix_seconds() -> u64 {
    // A clock set before 1970 is no reason to refuse an answer.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
