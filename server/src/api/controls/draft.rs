//! The fields of controls that are lists and objects, as they are read.
//!
//! Part of the drafts of single endpoints. Errors wait until the whole body was read.

use serde::de::MapAccess;

use super::bad_words::{BadWord, BadWordsShape};
use super::declared::{ALLOWED_TOKEN_IDS, BAD_WORDS_NAME, LOGIT_BIAS, STOP_TOKEN_IDS, STOP_TOKENS};
use super::ids::IdListShape;
use super::logit_bias::LogitBiasShape;
use crate::api::fields::IdBounds;
use crate::api::http::ApiError;
use crate::api::json::Shaped;
use crate::request::TokenBias;

/// A field that was read; none if it was not given.
type Read<T> = Option<Result<T, ApiError>>;

/// The fields, as far as they were given.
#[derive(Debug, Default)]
pub struct ControlsDraft {
    /// `logit_bias`.
    pub biases: Read<Vec<TokenBias>>,
    /// `allowed_token_ids`.
    pub allowed: Read<Vec<u32>>,
    /// `bad_words`.
    pub bad_words: Read<Vec<BadWord>>,
    /// `stop_token_ids`.
    pub stop_tokens: Read<Vec<u32>>,
}

impl ControlsDraft {
    /// Whether a field of this name is read here.
    pub fn takes(name: &str) -> bool {
        [LOGIT_BIAS, ALLOWED_TOKEN_IDS, BAD_WORDS_NAME, STOP_TOKEN_IDS].contains(&name)
    }

    /// Reads the value of a field that is read here, for a vocabulary of so many ids.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A, vocab: usize) -> Result<(), A::Error> {
        let ids = |param, most| Shaped(IdListShape { param, bounds: IdBounds { vocab, most } });
        match name {
            LOGIT_BIAS => self.biases = object.next_value_seed(Shaped(LogitBiasShape { vocab }))?,
            BAD_WORDS_NAME => self.bad_words = object.next_value_seed(Shaped(BadWordsShape { vocab }))?,
            STOP_TOKEN_IDS => self.stop_tokens = object.next_value_seed(ids(STOP_TOKEN_IDS, STOP_TOKENS))?,
            _ => self.allowed = object.next_value_seed(ids(ALLOWED_TOKEN_IDS, vocab))?,
        }
        Ok(())
    }
}
