//! `prompt_logprobs` of an answer, in vLLM's form: the beginning of the target, token by token.
//!
//! Made by the forms of completions and chats.

use std::collections::HashSet;

use kernels::Candidate;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use utoipa::ToSchema;

use super::scored_token::{SCORE_BYTES, finite};
use crate::engine::TokenScore;
use crate::registry::{LongestToken, ServedModel};

/// Log-probabilities of the beginning of a target; a JSON list. The start token, which nothing comes before, has null;
/// every other token an object with an entry for itself and each alternative, by id.
#[derive(Debug)]
pub struct PromptLogProbs<'a> {
    /// The tokens after the start token.
    pub scores: &'a [TokenScore],
    /// The model that names them.
    pub model: &'a ServedModel,
}

/// A token at one position.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromptLogProb {
    /// Natural-log probability.
    logprob: f32,
    /// Its place among all tokens there, from 1.
    rank: u32,
    /// Its name.
    decoded_token: String,
}

/// JSON of an entry beside its token's name.
const ENTRY_JSON: &str = r#""4294967295":{"logprob":-1.1754944e-38,"rank":4294967295,"decoded_token":},"#;

/// Most bytes of a token with so many alternatives on its way to a client. The token has an entry of its own where it
/// is not among them.
pub const fn prompt_log_prob_bytes(longest: &LongestToken, alternatives: usize) -> usize {
    let entry = SCORE_BYTES + size_of::<PromptLogProb>() + longest.name + ENTRY_JSON.len() + longest.name_json;
    entry.saturating_mul(1 + alternatives)
}

/// About how many bytes of JSON these tokens take.
pub fn scores_json_bytes(scores: &[TokenScore]) -> usize {
    ENTRY_JSON.len() * scores.iter().map(|score| 1 + score.top.len()).sum::<usize>()
}

impl Serialize for PromptLogProbs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(1 + self.scores.len()))?;
        list.serialize_element(&None::<()>)?;
        for score in self.scores {
            list.serialize_element(&Position { score, model: self.model })?;
        }
        list.end()
    }
}

struct Position<'a> {
    score: &'a TokenScore,
    model: &'a ServedModel,
}

impl Serialize for Position<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TokenScore { chosen, top } = self.score;
        let mut map = serializer.serialize_map(None)?;
        let mut told = HashSet::new();
        for candidate in std::iter::once(chosen).chain(top).filter(|candidate| told.insert(candidate.id)) {
            let Candidate { id, log_prob, rank } = *candidate;
            let decoded_token = self.model.token_name(id);
            let entry = PromptLogProb { logprob: finite(log_prob), rank: rank.saturating_add(1), decoded_token };
            map.serialize_entry(&id.to_string(), &entry)?;
        }
        map.end()
    }
}
