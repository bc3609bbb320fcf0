//! The body as JSON, read field by field. Only the parts that are used are kept.
//!
//! Used by `parse`, which knows what the fields mean.

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde_json::Value;

use super::fields::{DECODER_PROMPT, FIELDS, INCLUDE, INPUT, INSTRUCTIONS};
use super::include::{IncludeShape, Included};
use super::input::InputShape;
use super::neutral::{REASONING, STREAM_OPTIONS};
use super::text::{GivenText, TEXT};
use crate::api::controls::ControlsDraft;
use crate::api::fields::{
    DecoderPrompt, DecoderPromptShape, METADATA, MetadataShape, STOP, StopShape, TEMPLATE_VARIABLES,
    TemplateVariablesShape,
};
use crate::api::generation::RequestBounds;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Shape, Shaped, TextFieldShape, read_body};
use crate::api::structure::StructureDraft;
use crate::chat_template::{ChatMessage, TemplateValue};

/// Name of the field that holds the stop strings.
const STOP_NAME: &str = STOP.name;

/// A field that has a reader of its own, if it was given.
type Given<T> = Option<Result<T, ApiError>>;

/// The fields of a body. A field that is `null` counts as absent; of a field that is given twice, the last value
/// counts.
#[derive(Debug)]
pub struct Draft {
    /// Scalar fields, and the names of unknown ones.
    pub fields: Fields,
    /// `input`.
    pub input: Given<Vec<ChatMessage>>,
    /// `instructions`.
    pub instructions: Given<String>,
    /// `decoder_prompt`.
    pub decoder_prompt: Given<DecoderPrompt>,
    /// `stop`.
    pub stop: Given<Vec<String>>,
    /// Controls that are lists or objects.
    pub controls: ControlsDraft,
    /// Fields of structured output.
    pub structure: StructureDraft,
    /// `include`.
    pub include: Given<Included>,
    /// `metadata`.
    pub metadata: Given<BTreeMap<String, String>>,
    /// `chat_template_kwargs`.
    pub variables: Given<Vec<(String, TemplateValue)>>,
    /// `stream_options`.
    pub stream_options: Given<Fields>,
    /// `text`.
    pub text: Given<Value>,
    /// `reasoning`.
    pub reasoning: Given<Fields>,
}

impl Draft {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn read(body: &[u8], bounds: &RequestBounds) -> Result<Self, ApiError> {
        read_body(body, BodyShape(bounds))
    }

    fn new() -> Self {
        Self {
            fields: Fields::new(&FIELDS, ""),
            input: None,
            instructions: None,
            decoder_prompt: None,
            stop: None,
            controls: ControlsDraft::default(),
            structure: StructureDraft::default(),
            include: None,
            metadata: None,
            variables: None,
            stream_options: None,
            text: None,
            reasoning: None,
        }
    }
}

struct BodyShape<'a>(&'a RequestBounds);

impl Shape for BodyShape<'_> {
    type Read = Result<Draft, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let Self(bounds) = self;
        let mut draft = Draft::new();
        while let Some(name) = draft.fields.next_known(&mut object)? {
            match name {
                INPUT => draft.input = object.next_value_seed(Shaped(InputShape { most: bounds.messages }))?,
                INSTRUCTIONS => {
                    draft.instructions = object.next_value_seed(Shaped(TextFieldShape { param: INSTRUCTIONS }))?;
                }
                DECODER_PROMPT => {
                    draft.decoder_prompt = object.next_value_seed(Shaped(DecoderPromptShape(bounds.decoder_prompt)))?;
                }
                STOP_NAME => draft.stop = object.next_value_seed(Shaped(StopShape(bounds.stop)))?,
                INCLUDE => draft.include = object.next_value_seed(Shaped(IncludeShape))?,
                METADATA => draft.metadata = object.next_value_seed(Shaped(MetadataShape))?,
                TEMPLATE_VARIABLES => draft.variables = object.next_value_seed(Shaped(TemplateVariablesShape))?,
                "stream_options" => draft.stream_options = object.next_value_seed(Shaped(STREAM_OPTIONS.shape()))?,
                TEXT => draft.text = object.next_value_seed(GivenText::shape(bounds.structure))?,
                "reasoning" => draft.reasoning = object.next_value_seed(Shaped(REASONING.shape()))?,
                list if ControlsDraft::takes(list) => {
                    draft.controls.read(list, &mut object, bounds.decoder_prompt.vocab)?;
                }
                form if StructureDraft::takes(form) => draft.structure.read(form, &mut object, bounds.structure)?,
                scalar => draft.fields.set(scalar, object.next_value()?),
            }
        }
        Ok(Ok(draft))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}
