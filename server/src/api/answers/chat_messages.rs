//! The JSON of chat completions: whole, and in chunks.
//!
//! Filled by `chat_form`; the OpenAPI document describes the whole.

use serde::Serialize;
use utoipa::ToSchema;

use super::chat_logprobs::ChatLogProbs;
use super::prompt_logprobs::{PromptLogProb, PromptLogProbs};
use super::usage::UsageMessage;

/// A whole chat completion.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatCompletion<'a> {
    /// A name of its own.
    pub id: &'a str,
    /// `chat.completion`.
    pub object: &'static str,
    /// Seconds from 1970 until it was made.
    pub created: u64,
    /// The model's name.
    pub model: &'a str,
    /// The answers.
    pub choices: Vec<ChatChoice<'a>>,
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<&'a [u32]>,
    /// Log-probabilities of the beginning of the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Option<HashMap<String, PromptLogProb>>>>)]
    pub prompt_logprobs: Option<PromptLogProbs<'a>>,
    /// Numbers of tokens.
    pub usage: UsageMessage,
}

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatChoice<'a> {
    /// Its place among the answers.
    pub index: usize,
    /// The answer itself.
    pub message: ChatText<'a>,
    /// Log-probabilities of its tokens.
    pub logprobs: Option<ChatLogProbs>,
    /// Why it ended.
    pub finish_reason: Option<&'static str>,
    /// The number by which a beam search orders its hypotheses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Sum of its tokens' log-probabilities, of a beam search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cumulative_logprob: Option<f32>,
    /// Whether no other target of a search among given ones is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<&'a Vec<u32>>,
}

/// The text of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatText<'a> {
    /// `assistant`.
    pub role: &'static str,
    /// The text.
    pub content: &'a str,
    /// Always null.
    #[schema(value_type = Option<String>)]
    pub refusal: Option<()>,
}

/// A piece of a chat completion.
#[derive(Debug, Serialize)]
pub struct ChatChunk<'a> {
    /// The name of the completion.
    pub id: &'a str,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds from 1970 until the completion was made.
    pub created: u64,
    /// The model's name.
    pub model: &'a str,
    /// One answer's piece, or none beside the usage.
    pub choices: Vec<ChatChunkChoice<'a>>,
    /// The source, in the first chunk of each answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<&'a [u32]>,
    /// Numbers of tokens; null where they come later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<UsageMessage>>,
}

/// A piece of one answer.
#[derive(Debug, Serialize)]
pub struct ChatChunkChoice<'a> {
    /// The answer's place among the answers.
    pub index: usize,
    /// Its new text.
    pub delta: ChatDelta<'a>,
    /// Log-probabilities of its new tokens.
    pub logprobs: Option<ChatLogProbs>,
    /// Why it ended, in its last piece.
    pub finish_reason: Option<&'static str>,
    /// The number by which a beam search orders its hypotheses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Sum of its tokens' log-probabilities, of a beam search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cumulative_logprob: Option<f32>,
    /// Whether no other target of a search among given ones is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Its new tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<&'a Vec<u32>>,
}

/// New text of an answer.
#[derive(Debug, Serialize)]
pub struct ChatDelta<'a> {
    /// `assistant`, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The text.
    pub content: &'a str,
}
