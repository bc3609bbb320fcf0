//! A body of one of the encoder's routes, read and checked.
//!
//! Read by `admission`. Pure: no tokenizer, no engine, no clock.

use super::draft::Draft;
use super::input_fields::{ADD_SPECIAL_TOKENS, INPUT, NEUTRAL};
use super::task::Task;
use crate::api::Api;
use crate::api::fields::{Excess, IdBounds, Prompt, PromptBounds, Prompts};
use crate::api::http::ApiError;
use crate::api::texts::Sources;
use crate::registry::ServedModel;
use crate::request::Refusal;

/// Everything that a request asks of the encoder.
#[derive(Debug)]
pub struct EncoderCall<T> {
    /// The inputs.
    pub inputs: Sources,
    /// Whether the tokenizer frames the inputs as the model was trained.
    pub add_special_tokens: bool,
    /// The route's own part.
    pub task: T,
}

impl<T: Task> EncoderCall<T> {
    /// Reads a body against the bounds of a model.
    ///
    /// # Errors
    /// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
    pub fn read(body: &[u8], api: &Api, model: &ServedModel) -> Result<Self, ApiError> {
        let ids = IdBounds { vocab: model.source_vocab, most: model.limits().source_tokens };
        // Each input takes a place in the queue.
        let most = api.limits.inputs.min(model.limits().queued_rows as usize);
        let Draft { fields, inputs } = Draft::read(body, T::known(), PromptBounds { prompts: most, ids })?;
        T::check_model(&fields, model)?;
        let Prompts { list: prompts, names, excess } = inputs.ok_or(ApiError::Missing { param: INPUT })??;
        if !model.capabilities().text && prompts.iter().any(|prompt| matches!(prompt, Prompt::Text(_))) {
            return Err(ApiError::NeedsTokenizer { param: INPUT, instead: "give token ids" });
        }
        let call = Self {
            inputs: Sources { prompts, names },
            add_special_tokens: fields.flag(&ADD_SPECIAL_TOKENS)?,
            task: T::read(&fields, model)?,
        };
        NEUTRAL.check(&fields, 1)?;
        fields.finish()?;
        if let Some(Excess { index, tokens }) = excess {
            let refusal = Refusal::SourceTooLong { tokens, limit: ids.most };
            return Err(ApiError::refused_source(refusal, names.of(index)));
        }
        call.inputs.check_texts(model)?;
        Ok(call)
    }
}
