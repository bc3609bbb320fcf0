//! Controls as a request gave them: checked one by one, with words that are not tokenised yet.
//!
//! Made by the rooms of endpoints, settled by `settled`.

use super::bad_words::{BadWord, NEEDS_TOKENIZER};
use super::declared::{
    ALLOWED_TOKEN_IDS, FREQUENCY_PENALTY, NO_REPEAT_NGRAM_SIZE, PRESENCE_PENALTY, REPETITION_PENALTY,
};
use super::draft::ControlsDraft;
use crate::api::fields::to_u32;
use crate::api::http::ApiError;
use crate::api::json::{Field, Fields};
use crate::request::{TokenBias, TokenSet};

/// Controls of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GivenControls {
    /// `repetition_penalty`, if given.
    pub repetition_penalty: Option<f32>,
    /// `presence_penalty`.
    pub presence_penalty: f32,
    /// `frequency_penalty`.
    pub frequency_penalty: f32,
    /// `no_repeat_ngram_size`, if given.
    pub no_repeat_ngram: Option<u32>,
    /// `logit_bias`, ascending by id.
    pub biases: Vec<TokenBias>,
    /// `allowed_token_ids`.
    pub allowed: Option<TokenSet>,
    /// `bad_words`, if given.
    pub bad_words: Option<Vec<BadWord>>,
    /// `stop_token_ids`.
    pub stop_tokens: Vec<u32>,
    /// Ids that what is asked for excludes, whatever the fields say.
    pub banned: Vec<u32>,
}

impl GivenControls {
    /// Reads the fields, for a model that takes text or not.
    ///
    /// # Errors
    /// The [`ApiError`] of the first field that is not as declared.
    pub fn read(fields: &Fields, draft: ControlsDraft, takes_text: bool) -> Result<Self, ApiError> {
        let given = |field: &Field| fields.get(field.name).is_some();
        let penalty = fields.real(&REPETITION_PENALTY)? as f32;
        let ngram = fields.whole(&NO_REPEAT_NGRAM_SIZE)?.map_or(0, to_u32);
        let allowed = draft.allowed.transpose()?;
        if allowed.as_ref().is_some_and(Vec::is_empty) {
            let problem = "must hold at least one id";
            return Err(ApiError::Invalid { param: ALLOWED_TOKEN_IDS.to_owned(), problem });
        }
        let bad_words = draft.bad_words.transpose()?;
        if !takes_text && bad_words.iter().flatten().any(|word| matches!(word, BadWord::Text(_))) {
            return Err(NEEDS_TOKENIZER);
        }
        Ok(Self {
            repetition_penalty: given(&REPETITION_PENALTY).then_some(penalty),
            presence_penalty: fields.real(&PRESENCE_PENALTY)? as f32,
            frequency_penalty: fields.real(&FREQUENCY_PENALTY)? as f32,
            no_repeat_ngram: given(&NO_REPEAT_NGRAM_SIZE).then_some(ngram),
            biases: draft.biases.transpose()?.unwrap_or_default(),
            allowed: allowed.map(|ids| ids.into_iter().collect()),
            bad_words,
            stop_tokens: draft.stop_tokens.transpose()?.unwrap_or_default(),
            banned: Vec::new(),
        })
    }
}
