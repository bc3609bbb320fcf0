//! The body as JSON, read field by field. Only the parts that are used are kept.
//!
//! Used by `parse`, which knows what the fields mean. Errors of fields wait until the whole body was read, because
//! invalid JSON is reported first.

use std::sync::LazyLock;

use serde::de::{DeserializeSeed, MapAccess};
use serde_json::error::Category;

use super::bounds::RequestBounds;
use super::neutral;
use super::prompt::{DecoderPrompt, DecoderPromptShape, Prompts, PromptsShape};
use super::stop_field::StopShape;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, FieldsShape, Known, Shape, Shaped};

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
const STREAM_OPTIONS: &str = "stream_options";

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let larger = [PROMPT, DECODER_PROMPT, STOP, STREAM_OPTIONS];
    SCALARS.into_iter().chain(larger).chain(neutral::request_names()).collect()
});
static KNOWN_STREAM_OPTIONS: LazyLock<Known> = LazyLock::new(|| {
    let supported = ["include_usage", "continuous_usage_stats", "coalesce"];
    supported.into_iter().chain(neutral::stream_option_names()).collect()
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
        let text = std::str::from_utf8(body).map_err(|error| ApiError::NotUtf8 { offset: error.valid_up_to() })?;
        let mut json = serde_json::Deserializer::from_str(text);
        let read = Shaped(BodyShape(bounds)).deserialize(&mut json).and_then(|read| json.end().map(|()| read));
        match read {
            Ok(read) => read,
            Err(_) if text.trim().is_empty() => Err(ApiError::MalformedJson { problem: "it is empty".to_owned() }),
            Err(error) => Err(ApiError::MalformedJson { problem: json_problem(&error) }),
        }
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
                PROMPT => prompts = object.next_value_seed(Shaped(PromptsShape(bounds.prompts)))?,
                DECODER_PROMPT => {
                    decoder_prompt = object.next_value_seed(Shaped(DecoderPromptShape(bounds.decoder_prompt)))?;
                }
                STOP => stop = object.next_value_seed(Shaped(StopShape(bounds.stop)))?,
                STREAM_OPTIONS => {
                    let shape =
                        FieldsShape { param: STREAM_OPTIONS, known: &KNOWN_STREAM_OPTIONS, prefix: "stream_options." };
                    stream_options = object.next_value_seed(Shaped(shape))?;
                }
                scalar => fields.set(scalar, object.next_value()?),
            }
        }
        Ok(Ok(Draft { fields, prompts, decoder_prompt, stop, stream_options }))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}

const LONE_SURROGATE: [&str; 2] = ["lone leading surrogate", "unexpected end of hex escape"];

fn json_problem(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match error.classify() {
        Category::Syntax if said.starts_with("recursion limit exceeded") => {
            format!("it is nested too deeply (line {} column {})", error.line(), error.column())
        }
        // The parser says so only where half of a surrogate pair stands alone.
        Category::Syntax if LONE_SURROGATE.iter().any(|words| said.starts_with(words)) => format!(
            "a lone surrogate escape (\\ud800 to \\udfff) is no character (line {} column {})",
            error.line(),
            error.column()
        ),
        _ => said,
    }
}
