//! The form of a chat completion, field by field as OpenAI writes it, with vLLM's names for what OpenAI lacks.
//!
//! Made by `chat`.

use std::collections::HashSet;
use std::sync::Arc;

use super::chat_logprobs::{ChatLogProbs, chat_log_prob_bytes};
use super::chat_messages::{ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta, ChatText};
use super::form::{AnswerForm, Blocks, ChoicePiece, DONE, event};
use super::heading::Heading;
use super::prompt_logprobs::PromptLogProbs;
use super::stream_options::StreamOptions;
use super::token_names::TokenNames;
use super::usage::{Usage, UsageMessage};
use crate::registry::ServedModel;
use crate::request::FinishReason;

const ASSISTANT: &str = "assistant";

/// The form of one chat completion.
#[derive(Debug)]
pub struct ChatForm {
    heading: Heading,
    model: Arc<ServedModel>,
    blocks: Blocks,
    options: StreamOptions,
    /// Choices whose role was sent.
    begun: HashSet<usize>,
}

impl ChatForm {
    /// The form of an answer of `model`, with an id of its own.
    pub fn new(model: &Arc<ServedModel>, blocks: Blocks, options: StreamOptions) -> Self {
        let heading = Heading::new("chatcmpl-", &model.name);
        Self { heading, model: Arc::clone(model), blocks, options, begun: HashSet::new() }
    }

    fn log_probs(&self, piece: &ChoicePiece) -> Option<ChatLogProbs> {
        let names = TokenNames { model: &self.model, as_ids: self.blocks.tokens_as_ids };
        self.blocks.log_probs.then(|| ChatLogProbs::new(&piece.piece.log_probs, names))
    }

    fn choice<'a>(&self, piece: &'a ChoicePiece) -> ChatChoice<'a> {
        ChatChoice {
            index: piece.index,
            message: ChatText { role: ASSISTANT, content: &piece.piece.text, refusal: None },
            logprobs: self.log_probs(piece),
            finish_reason: piece.piece.finish.map(FinishReason::name),
            score: piece.piece.rating.map(|rating| rating.score),
            cumulative_logprob: piece.piece.rating.map(|rating| rating.log_prob),
            exact: piece.piece.rating.and_then(|rating| rating.is_exact),
            token_ids: self.blocks.token_ids.then_some(&piece.piece.token_ids),
        }
    }

    /// The chunk that begins a choice.
    fn first_chunk(&self, piece: &ChoicePiece, usage: Option<Option<UsageMessage>>) -> String {
        let choice = ChatChunkChoice {
            index: piece.index,
            delta: ChatDelta { role: Some(ASSISTANT), content: "" },
            logprobs: None,
            finish_reason: None,
            score: None,
            cumulative_logprob: None,
            exact: None,
            token_ids: None,
        };
        self.chunk(Some(choice), piece.piece.prompt_token_ids.as_deref(), usage)
    }

    fn chunk(
        &self,
        choice: Option<ChatChunkChoice<'_>>,
        prompt_token_ids: Option<&[u32]>,
        usage: Option<Option<UsageMessage>>,
    ) -> String {
        let chunk = ChatChunk {
            id: &self.heading.id,
            object: "chat.completion.chunk",
            created: self.heading.created,
            model: &self.heading.model,
            choices: choice.into_iter().collect(),
            prompt_token_ids,
            usage,
        };
        event(&serde_json::to_string(&chunk).expect("strings and numbers serialise"))
    }
}

impl AnswerForm for ChatForm {
    fn log_prob_bytes(&self, alternatives: usize) -> usize {
        chat_log_prob_bytes(&self.model.longest_token).saturating_mul(1 + alternatives)
    }

    fn whole(&self, pieces: &[ChoicePiece], usage: &Usage) -> String {
        let message = ChatCompletion {
            id: &self.heading.id,
            object: "chat.completion",
            created: self.heading.created,
            model: &self.heading.model,
            choices: pieces.iter().map(|piece| self.choice(piece)).collect(),
            prompt_token_ids: pieces.first().and_then(|piece| piece.piece.prompt_token_ids.as_deref()),
            prompt_logprobs: pieces
                .first()
                .and_then(|piece| piece.piece.prompt_log_probs.as_ref())
                .map(|scores| PromptLogProbs { scores, model: &self.model }),
            usage: usage.message(),
        };
        serde_json::to_string(&message).expect("strings and numbers serialise")
    }

    fn piece(&mut self, piece: &ChoicePiece, usage: &Usage) -> String {
        let usage_now = || self.options.usage_of_piece(usage);
        let first = (!self.begun.contains(&piece.index)).then(|| self.first_chunk(piece, usage_now()));
        let choice = ChatChunkChoice {
            index: piece.index,
            delta: ChatDelta { role: None, content: &piece.piece.text },
            logprobs: self.log_probs(piece),
            finish_reason: piece.piece.finish.map(FinishReason::name),
            score: piece.piece.rating.map(|rating| rating.score),
            cumulative_logprob: piece.piece.rating.map(|rating| rating.log_prob),
            exact: piece.piece.rating.and_then(|rating| rating.is_exact),
            token_ids: self.blocks.token_ids.then_some(&piece.piece.token_ids),
        };
        let events = first.unwrap_or_default() + &self.chunk(Some(choice), None, usage_now());
        self.begun.insert(piece.index);
        events
    }

    fn closing(&mut self, usage: &Usage) -> String {
        let usage = self.options.include_usage.then(|| self.chunk(None, None, Some(Some(usage.message()))));
        usage.unwrap_or_default() + DONE
    }
}
