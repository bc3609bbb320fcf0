//! The body as JSON, read field by field. Only the parts that are used are kept.
//!
//! Used by `parse`, which knows what the fields mean. Errors of fields wait until the whole body was read, because
//! invalid JSON is reported first.

use serde::de::MapAccess;

use super::fields::{DECODER_PROMPT, FIELDS, PROMPT, SUFFIX};
use crate::api::controls::ControlsDraft;
use crate::api::fields::{PromptBounds, Prompts, PromptsShape, STOP, STREAM_OPTIONS, StopShape, stream_options_shape};
use crate::api::generation::RequestBounds;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Shape, Shaped, TextFieldShape, read_body};
use crate::api::structure::StructureDraft;

/// Name of the field that holds the stop strings.
const STOP_NAME: &str = STOP.name;

/// The fields of a body. A field that is `null` counts as absent; of a field that is given twice, the last value
/// counts.
#[derive(Debug)]
pub struct Draft {
    /// Scalar fields, and the names of unknown ones.
    pub fields: Fields,
    /// `prompt`.
    pub prompts: Option<Result<Prompts, ApiError>>,
    /// `decoder_prompt`.
    pub decoder_prompts: Option<Result<Prompts, ApiError>>,
    /// `suffix`.
    pub suffix: Option<Result<String, ApiError>>,
    /// `stop`.
    pub stop: Option<Result<Vec<String>, ApiError>>,
    /// Controls that are lists or objects.
    pub controls: ControlsDraft,
    /// Fields of structured output.
    pub structure: StructureDraft,
    /// `stream_options`.
    pub stream_options: Option<Result<Fields, ApiError>>,
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
        let mut fields = Fields::new(&FIELDS, "");
        let (mut controls, mut structure) = (ControlsDraft::default(), StructureDraft::default());
        let (mut prompts, mut suffix, mut decoder_prompts) = (None, None, None);
        let (mut stop, mut stream_options) = (None, None);
        while let Some(name) = fields.next_known(&mut object)? {
            match name {
                PROMPT => {
                    prompts = object.next_value_seed(Shaped(PromptsShape {
                        param: PROMPT,
                        bounds: bounds.prompts,
                        takes_empty: false,
                    }))?
                }
                DECODER_PROMPT => {
                    let of_targets = PromptBounds { prompts: bounds.prompts.prompts, ids: bounds.decoder_prompt };
                    let shape = PromptsShape { param: DECODER_PROMPT, bounds: of_targets, takes_empty: true };
                    decoder_prompts = object.next_value_seed(Shaped(shape))?;
                }
                SUFFIX => suffix = object.next_value_seed(Shaped(TextFieldShape { param: SUFFIX }))?,
                STOP_NAME => stop = object.next_value_seed(Shaped(StopShape(bounds.stop)))?,
                STREAM_OPTIONS => stream_options = object.next_value_seed(Shaped(stream_options_shape()))?,
                list if ControlsDraft::takes(list) => {
                    controls.read(list, &mut object, bounds.decoder_prompt.vocab)?;
                }
                form if StructureDraft::takes(form) => structure.read(form, &mut object, bounds.structure)?,
                scalar => fields.set(scalar, object.next_value()?),
            }
        }
        Ok(Ok(Draft { fields, prompts, suffix, decoder_prompts, stop, controls, structure, stream_options }))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}
