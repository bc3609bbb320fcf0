//! The differences between the routes that the encoder answers: their own fields, what they read, and their answers.

use std::sync::Arc;

use crate::api::http::ApiError;
use crate::api::json::{Fields, Known};
use crate::registry::ServedModel;
use crate::request::Readout;

/// A route's own part.
pub trait Task: Clone + Sized + Send + 'static {
    /// Names of all fields of its body.
    fn known() -> &'static Known;

    /// Checks that the model has what the fields ask for, before anything else of them is checked.
    ///
    /// # Errors
    /// The refusal of a model that cannot do it.
    fn check_model(_fields: &Fields, _model: &ServedModel) -> Result<(), ApiError> {
        Ok(())
    }

    /// Reads its own fields.
    ///
    /// # Errors
    /// The [`ApiError`] of the first field that is wrong.
    fn read(fields: &Fields, model: &ServedModel) -> Result<Self, ApiError>;

    /// Checks inputs of these numbers of tokens, and prepares for them.
    ///
    /// # Errors
    /// The [`ApiError`] of what cannot be answered for them.
    fn fit(&mut self, _inputs: &[usize]) -> Result<(), ApiError> {
        Ok(())
    }

    /// The result that is read of the states of each input.
    fn readout(&self) -> Readout;

    /// Numbers in the answer for an input of so many tokens.
    fn numbers(&self, tokens: usize, model: &ServedModel) -> usize;

    /// Bytes that a number of the answer takes in JSON, at most.
    fn json_bytes_per_number(&self) -> usize;

    /// The answer as JSON.
    fn answer(&self, answered: Answered) -> Vec<u8>;
}

/// The engine's results for all inputs of a request.
#[derive(Debug)]
pub struct Answered {
    /// The model that gave them.
    pub model: Arc<ServedModel>,
    /// The result of each input.
    pub results: Vec<Vec<f32>>,
    /// Tokens of each input.
    pub tokens: Vec<usize>,
    /// Bytes of the answer as JSON, at most.
    pub json_bytes: usize,
}

impl Answered {
    /// Tokens of all inputs.
    pub fn total_tokens(&self) -> usize {
        self.tokens.iter().sum()
    }
}
