//! Defaults of the requests to a model: the settings of a request that says nothing.
//!
//! Plain data. `loading` makes them of what the checkpoint asks for; `api` lays requests over them.

use kernels::Sampling;

use super::beams::{BeamSearch, EarlyStopping};
use super::controls::Controls;

/// Defaults of requests. Those of [`RequestDefaults::default`] are OpenAI's.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestDefaults {
    /// Controls; their lists need not be in order.
    pub controls: Controls,
    /// How tokens are drawn; its seed has no meaning.
    pub sampling: Sampling,
    /// A beam search, of a width above 1 where requests search that do not say whether they do.
    pub search: BeamSearch,
    /// Most tokens to generate; as the endpoint has it when absent.
    pub most_tokens: Option<TokenLimit>,
    /// Number of tokens before which nothing ends a text.
    pub least_tokens: Option<TokenLimit>,
}

/// A limit on the tokens of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLimit {
    /// Generated tokens.
    Generated(u32),
    /// Tokens of the target, the start token and the decoder prompt included.
    Target(u32),
}

impl TokenLimit {
    /// Number of generated tokens after a decoder prompt of so many tokens.
    pub fn generated(self, decoder_prompt: usize) -> u32 {
        match self {
            Self::Generated(tokens) => tokens,
            Self::Target(tokens) => {
                let before = u32::try_from(decoder_prompt + 1).unwrap_or(u32::MAX);
                tokens.saturating_sub(before)
            }
        }
    }
}

impl RequestDefaults {
    /// OpenAI's sampling.
    pub const SAMPLING: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 };
    /// No search, and transformers' values for those that are asked for.
    pub const SEARCH: BeamSearch =
        BeamSearch { width: 1, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
}

impl Default for RequestDefaults {
    fn default() -> Self {
        Self {
            controls: Controls::default(),
            sampling: Self::SAMPLING,
            search: Self::SEARCH,
            most_tokens: None,
            least_tokens: None,
        }
    }
}
