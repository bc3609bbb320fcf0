//! The JSON of an answer: a list of results, with the fields that all routes of the encoder have.
//!
//! OpenAI's fields of a list of embeddings, and vLLM's `id` and `created`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answers::Heading;

/// A list of results.
#[derive(Debug)]
pub struct List<T> {
    /// Beginning of its id.
    pub prefix: &'static str,
    /// The results, in the order of the inputs.
    pub data: Vec<T>,
    /// Tokens of all inputs.
    pub tokens: usize,
    /// Bytes of the answer, at most.
    pub most_bytes: usize,
}

/// The message of a list.
#[derive(Serialize, ToSchema)]
pub struct ListMessage<T> {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<T>,
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
#[schema(as = InputUsage)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl<T: Serialize> List<T> {
    /// The answer of this model.
    pub fn json(self, model: &str) -> Vec<u8> {
        let Heading { id, created, model } = Heading::new(self.prefix, model);
        let usage = Usage { prompt_tokens: self.tokens, total_tokens: self.tokens };
        let message = ListMessage { id, object: "list", created, model, data: self.data, usage };
        // So much memory is reserved, so the text never has to move while it grows.
        let mut json = Vec::with_capacity(self.most_bytes);
        serde_json::to_writer(&mut json, &message).expect("strings and finite numbers serialise");
        debug_assert!(json.len() <= self.most_bytes, "{} bytes of {}", json.len(), self.most_bytes);
        json.shrink_to_fit();
        json
    }
}
