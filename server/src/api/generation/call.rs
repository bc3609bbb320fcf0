//! A call: everything that one HTTP request asks of the engine, whatever the form of its body.
//!
//! Made by the rooms of generating endpoints, read by the files here.

use kernels::Sampling;

use crate::api::answers::StreamOptions;
use crate::api::fields::{Prompt, PromptNames};
use crate::api::texts::Sources;
use crate::chat_template::Conversation;

/// A call with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationCall {
    /// Sources, at least one.
    pub sources: CallSources,
    /// Beginning of every target.
    pub decoder_prompt: Option<Prompt>,
    /// Only requests with the same one share encoded sources.
    pub cache_salt: Option<String>,
    /// Whether the tokenizer frames the sources as the model was trained; as the chat template needs it when absent.
    pub add_special_tokens: Option<bool>,
    /// Most tokens to generate; as many as fit when absent.
    pub max_tokens: Option<u32>,
    /// Number of tokens before which nothing ends a text.
    pub min_tokens: u32,
    /// End tokens do not end a text.
    pub ignore_eos: bool,
    /// Number of continuations of each prompt.
    pub choices: u32,
    /// How tokens are drawn; its seed has no meaning.
    pub sampling: Sampling,
    /// Seed of the random stream; a random one when absent.
    pub seed: Option<u64>,
    /// Strings that end a text.
    pub stop: Vec<String>,
    /// Log-probabilities, with this many alternatives.
    pub log_probs: Option<u32>,
    /// Whether the answer begins with the decoder prompt.
    pub echo: bool,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Contents of the pieces.
    pub stream_options: StreamOptions,
    /// Whether the answer holds token ids.
    pub return_token_ids: bool,
}

/// Sources of a call, before they are token ids.
#[derive(Debug, Clone, PartialEq)]
pub enum CallSources {
    /// Texts or ids as they were given.
    Prompts(Sources),
    /// One conversation, which the model's chat template turns into text.
    Conversation(Conversation),
}

impl CallSources {
    /// Number of sources.
    pub fn count(&self) -> usize {
        match self {
            Self::Prompts(sources) => sources.count(),
            Self::Conversation(_) => 1,
        }
    }

    /// Numbers of tokens of the sources as far as they are known: a text has one at least.
    pub fn known_lengths(&self) -> Vec<usize> {
        let length = |prompt: &Prompt| match prompt {
            Prompt::Ids(ids) => ids.len(),
            Prompt::Text(_) => 1,
        };
        match self {
            Self::Prompts(sources) => sources.prompts.iter().map(length).collect(),
            Self::Conversation(_) => vec![1],
        }
    }

    /// Names of the sources in errors.
    pub const fn names(&self) -> PromptNames {
        match self {
            Self::Prompts(sources) => sources.names,
            Self::Conversation(conversation) => PromptNames::Single(conversation.param),
        }
    }

    /// The name of a source in an error that has to say which of them it is about. An error without a name speaks of
    /// the field `prompt`.
    pub fn name_in_errors(&self, index: usize) -> Option<String> {
        let names = self.names();
        (names != PromptNames::Single("prompt")).then(|| names.of(index))
    }
}

impl GenerationCall {
    /// Most tokens to generate, as far as that is known: at least one where as many as fit are wanted.
    pub fn known_max_tokens(&self) -> u32 {
        self.max_tokens.unwrap_or(1)
    }

    /// Log-probabilities for each prompt when the decoder prompt has so many tokens.
    pub fn log_probs_per_prompt(&self, decoder_prompt: usize) -> u64 {
        let Some(alternatives) = self.log_probs else { return 0 };
        let scored = if self.echo { decoder_prompt as u64 } else { 0 };
        u64::from(self.choices)
            .saturating_mul(scored + u64::from(self.known_max_tokens()))
            .saturating_mul(u64::from(alternatives) + 1)
    }
}
