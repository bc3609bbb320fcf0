//! The `logprobs` block of a chat message: a list of tokens, each with its bytes and its alternatives.
//!
//! Made by `chat_form` and `response_form`.

use serde::Serialize;
use utoipa::ToSchema;

use super::scored_token::{SCORE_BYTES, ScoredToken, finite};
use super::token_names::TokenNames;
use crate::registry::LongestToken;

/// The block of a choice.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatLogProbs {
    content: Vec<ChatLogProb>,
    #[schema(value_type = Option<Vec<ChatLogProb>>)]
    refusal: Option<()>,
}

/// A token with its log-probability.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatLogProb {
    token: String,
    logprob: f32,
    bytes: Option<Vec<u8>>,
    top_logprobs: Vec<NamedToken>,
}

/// JSON of an entry beside its token's name and bytes.
const ENTRY_JSON: &str = r#"{"token":,"logprob":-1.1754944e-38,"bytes":[],"top_logprobs":[]},"#;

/// Most bytes of an entry, or of an alternative in it, on its way to a client.
pub const fn chat_log_prob_bytes(longest: &LongestToken) -> usize {
    // Each of its bytes is a number of three digits at most, and a comma.
    let json = ENTRY_JSON.len() + longest.name_json + 4 * longest.piece;
    SCORE_BYTES + size_of::<ChatLogProb>() + longest.name + longest.piece + json
}

#[derive(Debug, Serialize, ToSchema)]
struct NamedToken {
    token: String,
    logprob: f32,
    bytes: Option<Vec<u8>>,
}

impl ChatLogProbs {
    /// The block of these tokens.
    pub fn new(tokens: &[ScoredToken], names: TokenNames<'_>) -> Self {
        Self { content: chat_log_probs(tokens, names), refusal: None }
    }
}

/// The tokens, each with its alternatives, best first.
pub fn chat_log_probs(tokens: &[ScoredToken], names: TokenNames<'_>) -> Vec<ChatLogProb> {
    let named = |id: u32, log_prob: f32| NamedToken {
        token: names.name(id),
        logprob: finite(log_prob),
        bytes: names.model.tokenizer.as_ref().and_then(|tokenizer| tokenizer.piece_bytes(id)).map(<[u8]>::to_vec),
    };
    let entry = |ScoredToken { score, .. }: &ScoredToken| {
        let NamedToken { token, logprob, bytes } = named(score.chosen.id, score.chosen.log_prob);
        let top_logprobs = score.top.iter().map(|candidate| named(candidate.id, candidate.log_prob)).collect();
        ChatLogProb { token, logprob, bytes, top_logprobs }
    };
    tokens.iter().map(entry).collect()
}
