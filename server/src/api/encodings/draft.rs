//! The body as JSON, read field by field.
//!
//! Used by `call`, which knows what the fields mean. Errors of fields wait until the whole body was read, because
//! invalid JSON is reported first.

use serde::de::MapAccess;

use super::input_fields::INPUT;
use crate::api::fields::{PromptBounds, Prompts, PromptsShape};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Known, Shape, Shaped, read_body};

/// The fields of a body. A field that is `null` counts as absent; of a field that is given twice, the last value
/// counts.
#[derive(Debug)]
pub struct Draft {
    /// Scalar fields, and the names of unknown ones.
    pub fields: Fields,
    /// `input`.
    pub inputs: Option<Result<Prompts, ApiError>>,
}

impl Draft {
    /// Reads a body whose fields have these names.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn read(body: &[u8], known: &'static Known, bounds: PromptBounds) -> Result<Self, ApiError> {
        read_body(body, BodyShape { known, inputs: PromptsShape { param: INPUT, bounds, takes_empty: false } })
    }
}

struct BodyShape {
    known: &'static Known,
    inputs: PromptsShape,
}

impl Shape for BodyShape {
    type Read = Result<Draft, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut draft = Draft { fields: Fields::new(self.known, ""), inputs: None };
        while let Some(name) = draft.fields.next_known(&mut object)? {
            match name {
                INPUT => draft.inputs = object.next_value_seed(Shaped(self.inputs))?,
                scalar => draft.fields.set(scalar, object.next_value()?),
            }
        }
        Ok(Ok(draft))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}
