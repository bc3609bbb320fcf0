//! A body of one of the encoder's routes, read and checked.
//!
//! Read by `admission`. Pure: no tokenizer, no engine, no clock.

use std::time::Duration;

use super::draft::Draft;
use super::input_fields::{ADD_SPECIAL_TOKENS, INPUT, NEUTRAL};
use super::task::Task;
use crate::api::Api;
use crate::api::fields::{Frame, IdBounds, Prompt, PromptBounds, Prompts, Truncation, read_timeout};
use crate::api::http::ApiError;
use crate::api::texts::{SourceOptions, Sources, about_tokens_of};
use crate::api::turn::Demand;
use crate::overload::Work;
use crate::registry::ServedModel;
use crate::request::Refusal;

/// Everything that a request asks of the encoder.
#[derive(Debug)]
pub struct EncoderCall<T> {
    /// The inputs.
    pub inputs: Sources,
    /// Whether the tokenizer frames the inputs as the model was trained.
    pub add_special_tokens: bool,
    /// Which tokens of longer inputs are kept; longer ones are refused when absent.
    pub truncation: Option<Truncation>,
    /// The time within which the answer is wanted.
    pub timeout: Option<Duration>,
    /// The route's own part.
    pub task: T,
}

impl<T: Task> EncoderCall<T> {
    /// Reads a body against the bounds of a model.
    ///
    /// # Errors
    /// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
    pub fn read(body: &[u8], api: &Api, model: &ServedModel) -> Result<Self, ApiError> {
        // A longer list of ids may be truncated.
        let ids = IdBounds { vocab: model.source_vocab, most: usize::MAX };
        // Each input takes a place in the queue.
        let most = api.limits.inputs.min(model.limits().queued_rows as usize);
        let Draft { fields, inputs } = Draft::read(body, T::known(), PromptBounds { prompts: most, ids })?;
        T::check_model(&fields, model)?;
        let Prompts { list: prompts, names, .. } = inputs.ok_or(ApiError::Missing { param: INPUT })??;
        if !model.capabilities().text && prompts.iter().any(|prompt| matches!(prompt, Prompt::Text(_))) {
            return Err(ApiError::NeedsTokenizer { param: INPUT, instead: "give token ids" });
        }
        let mut call = Self {
            inputs: Sources { prompts, names },
            add_special_tokens: fields.flag(&ADD_SPECIAL_TOKENS)?,
            truncation: Truncation::read(&fields, model.limits().source_tokens)?,
            timeout: read_timeout(&fields)?,
            task: T::read(&fields, model)?,
        };
        NEUTRAL.check(&fields)?;
        fields.finish()?;
        call.check_lengths(api.limits.truncated_text_bytes, model)?;
        Ok(call)
    }

    /// Rows and work that the call asks of a model, before its texts are tokens.
    pub fn demand(&self, model: &ServedModel) -> Demand {
        let limit = model.limits().source_tokens;
        let source_tokens = self.inputs.prompts.iter().map(|input| about_tokens_of(input, limit)).sum();
        // All inputs make the answer.
        let work = Work { source_tokens, target_tokens: 0 };
        Demand { rows: self.inputs.count() as u32, work, least: work }
    }

    /// Truncates ids, and refuses inputs that are too long for the model or to be tokenised. Texts that are truncated
    /// may have so many bytes.
    fn check_lengths(&mut self, text_bytes: usize, model: &ServedModel) -> Result<(), ApiError> {
        let limit = model.limits().source_tokens;
        let Self { inputs, truncation, .. } = self;
        for (index, prompt) in inputs.prompts.iter_mut().enumerate() {
            let Prompt::Ids(ids) = prompt else { continue };
            if let Some(truncation) = truncation {
                truncation.cut(ids, limit, Frame::default());
            }
            if ids.len() > limit {
                let refusal = Refusal::SourceTooLong { tokens: ids.len(), limit };
                return Err(ApiError::refused_source(refusal, inputs.names.of(index)));
            }
        }
        inputs.check_texts(truncation.map(|_| text_bytes), model)
    }

    /// Encoder ids of each input, none empty.
    ///
    /// # Errors
    /// The [`ApiError`] of a text that cannot be tokenised, or has no tokens.
    pub fn ids(self, model: &ServedModel) -> Result<Vec<Vec<u32>>, ApiError> {
        let Self { inputs, add_special_tokens, truncation, .. } = self;
        // Lists of ids were cut before.
        inputs.ids(SourceOptions { add_special_tokens, truncation }, model)
    }
}
