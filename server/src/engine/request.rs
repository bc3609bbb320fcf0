//! What is asked of the engine and what it answers: plain data, token ids only.
//!
//! Built by `api`; read by the scheduler. Text is not known here.

use kernels::{Sampling, TokenScore};

use super::salt::Salt;

/// Temperatures below this choose the most probable token: dividing by them would overflow float32.
const GREEDY_BELOW: f64 = 1e-5;

/// What a temperature that is asked for is to the engine.
pub fn sampling_temperature(asked: f64) -> f32 {
    if asked < GREEDY_BELOW { 0.0 } else { asked as f32 }
}

/// Identifies a request for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Identifies a call: what one client asks at once, which may be several requests. Calls take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One source and the continuations wanted of it. Lengths and ids are checked at the door.
#[derive(Debug, Clone)]
pub struct GenerationRequest {
    /// Encoder ids, at least one.
    pub source: Vec<u32>,
    /// Whose source it is.
    pub salt: Salt,
    /// Forced first decoder ids, without the start token.
    pub decoder_prompt: Vec<u32>,
    /// Continuations (`n`), at least one.
    pub choices: u32,
    /// Tokens to generate at most, for each choice; 0 only scores the decoder prompt.
    pub max_tokens: u32,
    /// End tokens are not chosen before this many tokens.
    pub min_tokens: u32,
    /// End tokens do not end the text.
    pub ignore_end: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Log-probabilities of chosen tokens, with this many alternatives.
    pub log_probs: Option<u32>,
    /// Score the decoder prompt as well (needs `log_probs`).
    pub score_prompt: bool,
}

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token was chosen.
    Stop,
    /// `max_tokens` were generated.
    Length,
}

impl FinishReason {
    /// What clients are told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// What a request's stream carries, in order for each choice.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// The source has pages. Sent once, first.
    Started {
        /// Source tokens whose cross K/V another request already had (all of them or none).
        cached_tokens: u32,
    },
    /// The score of the next token of the decoder prompt.
    Scored {
        /// Choice it belongs to.
        choice: u32,
        /// Its log-probabilities.
        score: TokenScore,
    },
    /// A generated token, an end token included.
    Token {
        /// Choice it belongs to.
        choice: u32,
        /// The token.
        id: u32,
        /// Its log-probabilities, when asked for.
        score: Option<TokenScore>,
    },
    /// The choice is complete; no event of it follows.
    Finished {
        /// Choice that ended.
        choice: u32,
        /// Why.
        reason: FinishReason,
    },
    /// The request failed; no event follows.
    Failed {
        /// For the client.
        message: String,
        /// Whether the same request would fail again.
        is_lasting: bool,
    },
}

/// Why the engine takes no request. Nothing is queued when it is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is full: try again later.
    #[error("the server is overloaded: its queue of {queued_rows} sequences has no room for this request")]
    Overloaded {
        /// The limit.
        queued_rows: u32,
    },
    /// The server is shutting down.
    #[error("the server is shutting down and takes no new requests")]
    Draining,
    /// Source longer than allowed.
    #[error("This model's maximum context length is {limit} tokens. However, the prompt has {tokens} tokens")]
    SourceTooLong {
        /// Source tokens.
        tokens: usize,
        /// Allowed.
        limit: usize,
    },
    /// Decoder prompt and `max_tokens` longer than allowed.
    #[error(
        "This model's maximum context length is {limit} tokens. However, {} of target",
        target_length(*.prompt, *.max_tokens)
    )]
    TargetTooLong {
        /// Decoder prompt tokens.
        prompt: usize,
        /// Tokens asked for.
        max_tokens: usize,
        /// Allowed.
        limit: usize,
    },
    /// The pages of source and target could never be had at once.
    #[error(
        "the request needs {needed} pages; the whole page pool has {pages}: shorten it or raise limits.page_pool_bytes"
    )]
    NeverFits {
        /// Pages of the source and one full-length choice.
        needed: usize,
        /// Pages there are.
        pages: usize,
    },
}

fn target_length(prompt: usize, max_tokens: usize) -> String {
    if prompt == 0 {
        return format!("max_tokens asks for {max_tokens} tokens");
    }
    let sum = prompt.saturating_add(max_tokens);
    format!("decoder_prompt ({prompt} tokens) and max_tokens ({max_tokens}) make {sum} tokens")
}
