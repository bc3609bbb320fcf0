//! The body as JSON, read field by field. Only the parts that are used are kept.
//!
//! Used by `parse`, which knows what the fields mean. Errors of fields wait until the whole body was read, because
//! invalid JSON is reported first.

use std::sync::LazyLock;

use serde::de::MapAccess;

use super::neutral::REQUEST;
use crate::api::fields::{
    DecoderPrompt, DecoderPromptShape, Prompts, PromptsShape, STREAM_OPTIONS, StopShape, stream_options_shape,
};
use crate::api::generation::RequestBounds;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Known, Shape, Shaped, read_body};

/// Fields of a scalar value that are supported. Those that are not stand in `neutral`.
const SCALARS: [&str; 16] = [
    "add_special_tokens",
    "cache_salt",
    "echo",
    "ignore_eos",
    "logprobs",
    "max_tokens",
    "min_p",
    "min_tokens",
    "model",
    "n",
    "return_token_ids",
    "seed",
    "stream",
    "temperature",
    "top_k",
    "top_p",
];
const PROMPT: &str = "prompt";
const DECODER_PROMPT: &str = "decoder_prompt";
const STOP: &str = "stop";

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let larger = [PROMPT, DECODER_PROMPT, STOP, STREAM_OPTIONS];
    SCALARS.into_iter().chain(larger).chain(REQUEST.names()).collect()
});

/// The fields of a body. A field that is `null` counts as absent; of a field that is given twice, the last value
/// counts.
#[derive(Debug)]
pub struct Draft {
    /// Scalar fields, and the names of unknown ones.
    pub fields: Fields,
    /// `prompt`.
    pub prompts: Option<Result<Prompts, ApiError>>,
    /// `decoder_prompt`.
    pub decoder_prompt: Option<Result<DecoderPrompt, ApiError>>,
    /// `stop`.
    pub stop: Option<Result<Vec<String>, ApiError>>,
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
        let mut fields = Fields::new(&KNOWN, "");
        let (mut prompts, mut decoder_prompt, mut stop, mut stream_options) = (None, None, None, None);
        while let Some(name) = fields.next_known(&mut object)? {
            match name {
                PROMPT => {
                    prompts = object.next_value_seed(Shaped(PromptsShape { param: PROMPT, bounds: bounds.prompts }))?
                }
                DECODER_PROMPT => {
                    decoder_prompt = object.next_value_seed(Shaped(DecoderPromptShape(bounds.decoder_prompt)))?;
                }
                STOP => stop = object.next_value_seed(Shaped(StopShape(bounds.stop)))?,
                STREAM_OPTIONS => stream_options = object.next_value_seed(Shaped(stream_options_shape()))?,
                scalar => fields.set(scalar, object.next_value()?),
            }
        }
        Ok(Ok(Draft { fields, prompts, decoder_prompt, stop, stream_options }))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}
