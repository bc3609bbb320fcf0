//! The `logprobs` block of a completion's choice.
//!
//! Made by `completion_form`.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use utoipa::ToSchema;

use super::scored_token::{SCORE_BYTES, ScoredToken, finite};
use super::token_names::TokenNames;
use crate::engine::TokenScore;
use crate::registry::{LongestToken, token_id_name};

/// One entry per token in each list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct LogProbs {
    /// Names of the tokens.
    pub tokens: Vec<String>,
    /// Natural-log probabilities.
    pub token_logprobs: Vec<f32>,
    /// The most probable tokens there, and the chosen one.
    #[schema(value_type = Vec<HashMap<String, f32>>)]
    pub top_logprobs: Vec<TopLogProbs>,
    /// Characters of the choice's text before the token.
    pub text_offset: Vec<usize>,
}

impl LogProbs {
    /// The block of these tokens.
    pub fn new(tokens: &[ScoredToken], names: TokenNames<'_>) -> Self {
        let mut block = Self::default();
        for ScoredToken { score, offset } in tokens {
            let name = names.name(score.chosen.id);
            block.top_logprobs.push(TopLogProbs::new(score, &name, names));
            block.token_logprobs.push(finite(score.chosen.log_prob));
            block.tokens.push(name);
            block.text_offset.push(*offset);
        }
        block
    }
}

/// JSON of a token beside its name: its number, and its share of the lists.
const ENTRY_JSON: &str = r#":-1.1754944e-38,{},-1.1754944e-38,18446744073709551615,"#;

/// Most bytes of a token in its list, or of an alternative, on its way to a client.
pub const fn log_prob_bytes(longest: &LongestToken) -> usize {
    SCORE_BYTES + size_of::<(String, f32)>() + longest.name + ENTRY_JSON.len() + longest.name_json
}

/// Names with log-probabilities, best first; a JSON object.
#[derive(Debug, Clone, PartialEq)]
pub struct TopLogProbs(Vec<(String, f32)>);

impl TopLogProbs {
    /// The chosen token always goes by its own name; another one of the same text (a byte piece beside the letter it
    /// stands for) goes by its id, so that no entry replaces another.
    fn new(score: &TokenScore, chosen_name: &str, names: TokenNames<'_>) -> Self {
        let mut entries: Vec<(String, f32)> = Vec::with_capacity(score.top.len() + 1);
        let mut has_chosen = false;
        for candidate in &score.top {
            let name = if candidate.id == score.chosen.id {
                has_chosen = true;
                chosen_name.to_owned()
            } else {
                let name = names.name(candidate.id);
                let taken = name == chosen_name || entries.iter().any(|(other, _)| *other == name);
                if taken { token_id_name(candidate.id) } else { name }
            };
            entries.push((name, finite(candidate.log_prob)));
        }
        if !has_chosen {
            entries.push((chosen_name.to_owned(), finite(score.chosen.log_prob)));
        }
        Self(entries)
    }
}

impl Serialize for TopLogProbs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, log_prob) in &self.0 {
            map.serialize_entry(name, log_prob)?;
        }
        map.end()
    }
}
