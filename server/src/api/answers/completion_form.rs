//! The form of a completion, field by field as OpenAI writes it, with vLLM's names for what OpenAI lacks.
//!
//! Made by `completions`.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::form::{AnswerForm, Blocks, ChoicePiece, DONE, event};
use super::heading::Heading;
use super::logprobs::{LogProbs, log_prob_bytes};
use super::prompt_logprobs::{PromptLogProb, PromptLogProbs};
use super::stream_options::StreamOptions;
use super::token_names::TokenNames;
use super::usage::{Usage, UsageMessage};
use crate::registry::ServedModel;
use crate::request::FinishReason;

/// The form of one completion.
#[derive(Debug)]
pub struct CompletionForm {
    heading: Heading,
    model: Arc<ServedModel>,
    blocks: Blocks,
    options: StreamOptions,
}

impl CompletionForm {
    /// The form of an answer of `model`, with an id of its own.
    pub fn new(model: &Arc<ServedModel>, blocks: Blocks, options: StreamOptions) -> Self {
        Self { heading: Heading::new("cmpl-", &model.name), model: Arc::clone(model), blocks, options }
    }

    fn message(&self, pieces: &[ChoicePiece], usage: Option<Option<UsageMessage>>) -> String {
        let message = CompletionMessage {
            id: &self.heading.id,
            object: "text_completion",
            created: self.heading.created,
            model: &self.heading.model,
            choices: pieces.iter().map(|piece| self.choice(piece)).collect(),
            usage,
        };
        serde_json::to_string(&message).expect("strings and numbers serialise")
    }

    fn choice<'a>(&'a self, piece: &'a ChoicePiece) -> ChoiceMessage<'a> {
        let ChoicePiece { index, piece } = piece;
        let names = TokenNames { model: &self.model, as_ids: self.blocks.tokens_as_ids };
        ChoiceMessage {
            index: *index,
            text: &piece.text,
            logprobs: self.blocks.log_probs.then(|| LogProbs::new(&piece.log_probs, names)),
            finish_reason: piece.finish.map(FinishReason::name),
            score: piece.rating.map(|rating| rating.score),
            cumulative_logprob: piece.rating.map(|rating| rating.log_prob),
            exact: piece.rating.and_then(|rating| rating.is_exact),
            prompt_token_ids: piece.prompt_token_ids.as_deref(),
            prompt_logprobs: piece
                .prompt_log_probs
                .as_ref()
                .map(|scores| PromptLogProbs { scores, model: &self.model }),
            token_ids: self.blocks.token_ids.then_some(&piece.token_ids),
        }
    }
}

impl AnswerForm for CompletionForm {
    fn log_prob_bytes(&self, alternatives: usize) -> usize {
        // The token itself stands in a list of its own, and may stand among its alternatives as one more.
        log_prob_bytes(&self.model.longest_token).saturating_mul(2 + alternatives)
    }

    fn whole(&self, pieces: &[ChoicePiece], usage: &Usage) -> String {
        self.message(pieces, Some(Some(usage.message())))
    }

    fn piece(&mut self, piece: &ChoicePiece, usage: &Usage) -> String {
        event(&self.message(std::slice::from_ref(piece), self.options.usage_of_piece(usage)))
    }

    fn closing(&mut self, usage: &Usage) -> String {
        let usage = self.options.include_usage.then(|| event(&self.message(&[], Some(Some(usage.message())))));
        usage.unwrap_or_default() + DONE
    }
}

/// A completion, or a piece of one.
#[derive(Serialize, ToSchema)]
#[schema(as = Completion)]
pub struct CompletionMessage<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<ChoiceMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<UsageMessage>)]
    usage: Option<Option<UsageMessage>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Choice)]
struct ChoiceMessage<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<LogProbs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cumulative_logprob: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<&'a [u32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Option<HashMap<String, PromptLogProb>>>>)]
    prompt_logprobs: Option<PromptLogProbs<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<&'a Vec<u32>>,
}
