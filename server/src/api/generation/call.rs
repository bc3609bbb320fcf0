//! A call: everything that one HTTP request asks of the engine, whatever the form of its body.
//!
//! Made by the rooms of generating endpoints, read by the files here.

use kernels::Sampling;

use crate::api::answers::StreamOptions;
use crate::api::fields::Prompt;
use crate::api::texts::Sources;

/// A call with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationCall {
    /// The model asked for; the default one when absent.
    pub model: Option<String>,
    /// Sources, at least one.
    pub sources: Sources,
    /// Beginning of every target.
    pub decoder_prompt: Option<Prompt>,
    /// Only requests with the same one share encoded sources.
    pub cache_salt: Option<String>,
    /// Whether the tokenizer frames the sources as the model was trained.
    pub add_special_tokens: bool,
    /// Most tokens to generate.
    pub max_tokens: u32,
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

impl GenerationCall {
    /// Log-probabilities for each prompt when the decoder prompt has so many tokens.
    pub fn log_probs_per_prompt(&self, decoder_prompt: usize) -> u64 {
        let Some(alternatives) = self.log_probs else { return 0 };
        let scored = if self.echo { decoder_prompt as u64 } else { 0 };
        u64::from(self.choices)
            .saturating_mul(scored + u64::from(self.max_tokens))
            .saturating_mul(u64::from(alternatives) + 1)
    }
}
