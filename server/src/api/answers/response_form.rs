//! The form of a response, field by field as OpenAI writes it, whole or in the events of its protocol.
//!
//! Made by `responses`. A response has one message with one text; its stream repeats both at their ends.

use std::cell::Cell;
use std::sync::Arc;

use super::answer_budget::Repeats;
use super::chat_logprobs::{ChatLogProb, chat_log_prob_bytes, chat_log_probs};
use super::choice::Piece;
use super::form::{AnswerForm, ChoicePiece};
use super::heading::{Heading, unix_seconds};
use super::response_messages::{
    EventContents, IncompleteDetails, OutputMessage, OutputText, PartPlace, ResponseError, ResponseEvent,
    ResponseMessage,
};
use super::response_settings::ResponseSettings;
use super::scored_token::{ScoredToken, log_probs_json_bytes};
use super::token_names::TokenNames;
use super::usage::Usage;
use crate::api::http::{ApiError, random_name};
use crate::registry::ServedModel;
use crate::request::{FinishReason, Rating};

/// A stream writes its text in four events at its end.
const REPEATED_AT_END: usize = 4;
/// It keeps the text, too.
const REPEATED_IN_STREAM: usize = 1 + REPEATED_AT_END;
/// The settings are written twice at the beginning, and once at the end.
const SETTINGS_AT_BEGINNING: usize = 2;
/// They are kept, too.
const SETTINGS_REPEATED: usize = 1 + SETTINGS_AT_BEGINNING + 1;
const IN_PROGRESS: &str = "in_progress";

/// How a response ended.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    finish: Option<FinishReason>,
    /// How a beam search rates it.
    rating: Option<Rating>,
}

impl End {
    /// The end that a piece tells.
    const fn of(piece: &Piece) -> Self {
        Self { finish: piece.finish, rating: piece.rating }
    }

    fn is_complete(self) -> bool {
        self.finish == Some(FinishReason::Stop)
    }
}

/// The form of one response.
#[derive(Debug)]
pub struct ResponseForm {
    heading: Heading,
    item_id: String,
    model: Arc<ServedModel>,
    settings: ResponseSettings,
    is_streamed: bool,
    sequence: Sequence,
    /// The text so far, of a stream.
    text: String,
    /// Its tokens, where log-probabilities are asked for.
    tokens: Vec<ScoredToken>,
    end: End,
    /// Tokens go by their ids.
    tokens_as_ids: bool,
}

impl ResponseForm {
    /// The form of an answer of `model`, with an id of its own.
    pub fn new(model: &Arc<ServedModel>, settings: ResponseSettings, is_streamed: bool) -> Self {
        Self {
            heading: Heading::new("resp_", &model.name),
            item_id: format!("msg_{}", random_name()),
            model: Arc::clone(model),
            settings,
            is_streamed,
            sequence: Sequence::default(),
            text: String::new(),
            tokens: Vec::new(),
            end: End::default(),
            tokens_as_ids: false,
        }
    }

    /// Names tokens by their ids, or by their text.
    pub fn naming_tokens(self, tokens_as_ids: bool) -> Self {
        Self { tokens_as_ids, ..self }
    }

    /// The response without a message, as it is until the message begins.
    fn begun(&self) -> ResponseMessage<'_> {
        ResponseMessage {
            id: &self.heading.id,
            object: "response",
            created_at: self.heading.created,
            completed_at: None,
            status: IN_PROGRESS,
            error: None,
            incomplete_details: None,
            model: &self.heading.model,
            output: Vec::new(),
            usage: None,
            settings: &self.settings,
        }
    }

    fn ended<'a>(&'a self, end: End, text: OutputText<'a>, usage: &Usage) -> ResponseMessage<'a> {
        let is_complete = end.is_complete();
        let incomplete_details = (!is_complete).then_some(IncompleteDetails { reason: "max_output_tokens" });
        ResponseMessage {
            completed_at: is_complete.then(unix_seconds),
            status: status(end.finish),
            incomplete_details,
            output: vec![self.ended_item(end, text)],
            usage: Some(usage.of_response()),
            ..self.begun()
        }
    }

    fn item<'a>(&'a self, status: &'static str, content: Vec<OutputText<'a>>) -> OutputMessage<'a> {
        let (id, kind, role) = (&self.item_id, "message", "assistant");
        OutputMessage { id, kind, status, role, content, score: None, cumulative_logprob: None, exact: None }
    }

    fn ended_item<'a>(&'a self, end: End, text: OutputText<'a>) -> OutputMessage<'a> {
        OutputMessage {
            score: end.rating.map(|rating| rating.score),
            cumulative_logprob: end.rating.map(|rating| rating.log_prob),
            exact: end.rating.and_then(|rating| rating.is_exact),
            ..self.item(status(end.finish), vec![text])
        }
    }

    fn place(&self) -> PartPlace<'_> {
        PartPlace { item_id: &self.item_id, output_index: 0, content_index: 0 }
    }

    fn output_text<'a>(text: &'a str, logprobs: &'a [ChatLogProb]) -> OutputText<'a> {
        OutputText { kind: "output_text", text, annotations: [], logprobs }
    }

    /// Log-probabilities of these tokens; of none where they are not asked for.
    fn log_probs(&self, tokens: &[ScoredToken]) -> Vec<ChatLogProb> {
        chat_log_probs(tokens, TokenNames { model: &self.model, as_ids: self.tokens_as_ids })
    }
}

impl AnswerForm for ResponseForm {
    fn log_prob_bytes(&self, alternatives: usize) -> usize {
        chat_log_prob_bytes(&self.model.longest_token).saturating_mul(1 + alternatives)
    }

    fn repeats(&self) -> Repeats {
        Repeats {
            pieces: if self.is_streamed { REPEATED_IN_STREAM } else { 0 },
            request_bytes: SETTINGS_REPEATED * self.settings.json_bytes(),
        }
    }

    fn end_bytes(&self) -> usize {
        let text = REPEATED_AT_END * (self.text.len() + log_probs_json_bytes(&self.tokens));
        SETTINGS_AT_BEGINNING * self.settings.json_bytes() + text
    }

    fn whole(&self, pieces: &[ChoicePiece], usage: &Usage) -> String {
        let piece = pieces.first().map(|choice| &choice.piece);
        let log_probs = piece.map(|piece| self.log_probs(&piece.log_probs)).unwrap_or_default();
        let text = Self::output_text(piece.map_or("", |piece| &piece.text), &log_probs);
        let message = self.ended(piece.map(End::of).unwrap_or_default(), text, usage);
        serde_json::to_string(&message).expect("strings and numbers serialise")
    }

    fn opening(&mut self) -> String {
        let part = Self::output_text("", &[]);
        let mut events = self.sequence.events();
        events.push("response.created", EventContents::Response { response: self.begun() });
        events.push("response.in_progress", EventContents::Response { response: self.begun() });
        let item = self.item(IN_PROGRESS, Vec::new());
        events.push("response.output_item.added", EventContents::Item { output_index: 0, item });
        events.push("response.content_part.added", EventContents::Part { place: self.place(), part });
        events.end()
    }

    fn piece(&mut self, piece: &ChoicePiece, _: &Usage) -> String {
        let piece = &piece.piece;
        self.text.push_str(&piece.text);
        self.tokens.extend_from_slice(&piece.log_probs);
        if piece.finish.is_some() {
            self.end = End::of(piece);
        }
        let logprobs = self.log_probs(&piece.log_probs);
        let mut events = self.sequence.events();
        if !piece.text.is_empty() || !logprobs.is_empty() {
            let delta = EventContents::Delta { place: self.place(), delta: &piece.text, logprobs: &logprobs };
            events.push("response.output_text.delta", delta);
        }
        events.end()
    }

    fn closing(&mut self, usage: &Usage) -> String {
        let (place, log_probs) = (self.place(), self.log_probs(&self.tokens));
        let part = Self::output_text(&self.text, &log_probs);
        let mut events = self.sequence.events();
        let text = EventContents::Text { place, text: &self.text, logprobs: &log_probs };
        events.push("response.output_text.done", text);
        events.push("response.content_part.done", EventContents::Part { place, part });
        let item = self.ended_item(self.end, part);
        events.push("response.output_item.done", EventContents::Item { output_index: 0, item });
        let kind = if self.end.is_complete() { "response.completed" } else { "response.incomplete" };
        events.push(kind, EventContents::Response { response: self.ended(self.end, part, usage) });
        events.end()
    }

    fn failure(&mut self, error: &ApiError) -> String {
        let error = ResponseError { code: "server_error", message: error.to_string() };
        let mut events = self.sequence.events();
        let response = ResponseMessage { status: "failed", error: Some(error), ..self.begun() };
        events.push("response.failed", EventContents::Response { response });
        events.end()
    }
}

/// The status of a response, and of its message, that ended so.
const fn status(finish: Option<FinishReason>) -> &'static str {
    match finish {
        Some(FinishReason::Stop) => "completed",
        Some(FinishReason::Length) | None => "incomplete",
    }
}

/// Numbers of a stream's events.
#[derive(Debug, Default)]
struct Sequence(Cell<u64>);

impl Sequence {
    fn events(&self) -> Events<'_> {
        Events { sequence: self, written: Vec::new() }
    }
}

/// Events on their way to the client.
struct Events<'a> {
    sequence: &'a Sequence,
    written: Vec<u8>,
}

impl Events<'_> {
    fn push(&mut self, kind: &'static str, contents: EventContents<'_>) {
        let next = &self.sequence.0;
        let event = ResponseEvent { kind, sequence_number: next.replace(next.get() + 1), contents };
        self.written.extend_from_slice(format!("event: {kind}\ndata: ").as_bytes());
        serde_json::to_writer(&mut self.written, &event).expect("strings and numbers serialise");
        self.written.extend_from_slice(b"\n\n");
    }

    fn end(self) -> String {
        String::from_utf8(self.written).expect("JSON is UTF-8")
    }
}
