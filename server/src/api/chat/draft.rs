//! The body as JSON, read field by field. Only the parts that are used are kept.
//!
//! Used by `parse`, which knows what the fields mean.

use std::sync::LazyLock;

use serde::de::MapAccess;

use super::fields::{DECODER_PROMPT, FIELDS, MESSAGES, PARTS};
use super::neutral::MESSAGE;
use crate::api::controls::ControlsDraft;
use crate::api::fields::{
    DecoderPrompt, DecoderPromptShape, MESSAGE_FIELDS, MessageDialect, MessagesShape, STOP, STREAM_OPTIONS, StopShape,
    TEMPLATE_VARIABLES, TemplateVariablesShape, stream_options_shape,
};
use crate::api::generation::RequestBounds;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Known, Shape, Shaped, read_body};
use crate::api::structure::StructureDraft;
use crate::chat_template::{ChatMessage, TemplateValue};

/// Name of the field that holds the stop strings.
const STOP_NAME: &str = STOP.name;

static KNOWN_IN_MESSAGE: LazyLock<Known> =
    LazyLock::new(|| MESSAGE_FIELDS.into_iter().chain(MESSAGE.names()).collect());
/// How messages are written.
pub static DIALECT: LazyLock<MessageDialect> = LazyLock::new(|| MessageDialect {
    param: MESSAGES,
    known: &KNOWN_IN_MESSAGE,
    neutral: MESSAGE,
    parts: &PARTS,
    part_extras: &[],
});

/// The fields of a body. A field that is `null` counts as absent; of a field that is given twice, the last value
/// counts.
#[derive(Debug)]
pub struct Draft {
    /// Scalar fields, and the names of unknown ones.
    pub fields: Fields,
    /// `messages`.
    pub messages: Option<Result<Vec<ChatMessage>, ApiError>>,
    /// `decoder_prompt`.
    pub decoder_prompt: Option<Result<DecoderPrompt, ApiError>>,
    /// `stop`.
    pub stop: Option<Result<Vec<String>, ApiError>>,
    /// Controls that are lists or objects.
    pub controls: ControlsDraft,
    /// Fields of structured output.
    pub structure: StructureDraft,
    /// `stream_options`.
    pub stream_options: Option<Result<Fields, ApiError>>,
    /// `chat_template_kwargs`.
    pub variables: Option<Result<Vec<(String, TemplateValue)>, ApiError>>,
}

impl Draft {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn read(body: &[u8], bounds: &RequestBounds) -> Result<Self, ApiError> {
        read_body(body, BodyShape(bounds))
    }
}

struct BodyShape<'a>(&'a RequestBounds);

impl Shape for BodyShape<'_> {
    type Read = Result<Draft, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let Self(bounds) = self;
        let mut draft = Draft {
            fields: Fields::new(&FIELDS, ""),
            messages: None,
            decoder_prompt: None,
            stop: None,
            controls: ControlsDraft::default(),
            structure: StructureDraft::default(),
            stream_options: None,
            variables: None,
        };
        while let Some(name) = draft.fields.next_known(&mut object)? {
            match name {
                MESSAGES => {
                    let shape = MessagesShape { dialect: &DIALECT, most: bounds.messages };
                    draft.messages = object.next_value_seed(Shaped(shape))?;
                }
                DECODER_PROMPT => {
                    draft.decoder_prompt = object.next_value_seed(Shaped(DecoderPromptShape(bounds.decoder_prompt)))?;
                }
                STOP_NAME => draft.stop = object.next_value_seed(Shaped(StopShape(bounds.stop)))?,
                STREAM_OPTIONS => draft.stream_options = object.next_value_seed(Shaped(stream_options_shape()))?,
                TEMPLATE_VARIABLES => draft.variables = object.next_value_seed(Shaped(TemplateVariablesShape))?,
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
