//! The JSON of responses: whole, and in events.
//!
//! Filled by `response_form`; the OpenAPI document describes the whole.

use serde::Serialize;
use utoipa::ToSchema;

use super::chat_logprobs::ChatLogProb;
use super::response_settings::ResponseSettings;
use super::usage::ResponseUsage;

/// A response, finished or as it is so far.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Response)]
pub struct ResponseMessage<'a> {
    /// A name of its own.
    pub id: &'a str,
    /// `response`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Seconds from 1970 until it was made.
    pub created_at: u64,
    /// Seconds from 1970 until it was completed.
    pub completed_at: Option<u64>,
    /// `in_progress`, `completed`, `incomplete` or `failed`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Why it is incomplete.
    pub incomplete_details: Option<IncompleteDetails>,
    /// The model's name.
    pub model: &'a str,
    /// One message, or nothing yet.
    pub output: Vec<OutputMessage<'a>>,
    /// Numbers of tokens, at the end.
    pub usage: Option<ResponseUsage>,
    /// Settings of the request.
    #[serde(flatten)]
    pub settings: &'a ResponseSettings,
}

/// Why a response failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResponseError {
    /// `server_error`.
    #[schema(value_type = String)]
    pub code: &'static str,
    /// The failure in words.
    pub message: String,
}

/// Why a response is incomplete.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncompleteDetails {
    /// `max_output_tokens`.
    #[schema(value_type = String)]
    pub reason: &'static str,
}

/// The message of the assistant.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputMessage<'a> {
    /// A name of its own.
    pub id: &'a str,
    /// `message`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// `in_progress`, `completed` or `incomplete`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// `assistant`.
    #[schema(value_type = String)]
    pub role: &'static str,
    /// One text, or nothing yet.
    pub content: Vec<OutputText<'a>>,
    /// The number by which a beam search orders its hypotheses, of which this is the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Sum of its tokens' log-probabilities, of a beam search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cumulative_logprob: Option<f32>,
    /// Whether no other target of a search among given ones is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
}

/// The text of a message.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct OutputText<'a> {
    /// `output_text`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// The text itself.
    pub text: &'a str,
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    pub annotations: [(); 0],
    /// Log-probabilities of its tokens, if they are asked for.
    #[schema(value_type = Vec<ChatLogProb>)]
    pub logprobs: &'a [ChatLogProb],
}

/// An event of a stream.
#[derive(Debug, Serialize)]
pub struct ResponseEvent<'a> {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its number in the stream, from 0.
    pub sequence_number: u64,
    /// The rest of it.
    #[serde(flatten)]
    pub contents: EventContents<'a>,
}

/// Contents of an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum EventContents<'a> {
    /// The response as it is then.
    Response {
        /// The response.
        response: ResponseMessage<'a>,
    },
    /// The message of the response.
    Item {
        /// Its place in `output`: always 0.
        output_index: u32,
        /// The message.
        item: OutputMessage<'a>,
    },
    /// The part of the message.
    Part {
        /// Its place.
        #[serde(flatten)]
        place: PartPlace<'a>,
        /// The part.
        part: OutputText<'a>,
    },
    /// New text.
    Delta {
        /// Its part.
        #[serde(flatten)]
        place: PartPlace<'a>,
        /// The text.
        delta: &'a str,
        /// Log-probabilities of its tokens.
        logprobs: &'a [ChatLogProb],
    },
    /// The whole text.
    Text {
        /// Its part.
        #[serde(flatten)]
        place: PartPlace<'a>,
        /// The text.
        text: &'a str,
        /// Log-probabilities of its tokens.
        logprobs: &'a [ChatLogProb],
    },
}

/// The place of the only part of the only message of a response.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PartPlace<'a> {
    /// Name of the message.
    pub item_id: &'a str,
    /// Its place in `output`: always 0.
    pub output_index: u32,
    /// The part's place in the message: always 0.
    pub content_index: u32,
}
