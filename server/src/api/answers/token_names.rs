//! Names of tokens in the log-probabilities of an answer.

use crate::registry::{ServedModel, token_id_name};

/// Names of a model's tokens, as a request wants them.
#[derive(Debug, Clone, Copy)]
pub struct TokenNames<'a> {
    /// The model.
    pub model: &'a ServedModel,
    /// Tokens go by their ids.
    pub as_ids: bool,
}

impl TokenNames<'_> {
    /// The name of a token.
    pub fn name(&self, id: u32) -> String {
        if self.as_ids { token_id_name(id) } else { self.model.token_name(id) }
    }
}
