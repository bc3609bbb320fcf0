//! The JSON of requests that are not run, in the shape of vLLM's render routes.
//!
//! Filled by `render`; the OpenAPI document describes it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::call::{CallSources, GenerationCall};
use super::rendered_controls::RenderedControls;
use super::tokenise::TokenisedCall;
use crate::api::http::random_name;
use crate::api::structure::RenderedStructure;
use crate::registry::ServedModel;
use crate::request::EarlyStopping;

/// One source with everything that the engine would get with it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RenderedRequest<'a> {
    request_id: String,
    model: &'a str,
    /// The text that became the source; null where ids were given.
    prompt: Option<String>,
    /// The source: what the encoder reads.
    token_ids: &'a Vec<u32>,
    /// The beginning of the target, from the start token on: what the decoder reads first.
    decoder_token_ids: Vec<u32>,
    sampling_params: SamplingParams<'a>,
    stream: bool,
}

/// How tokens are chosen, and how many, by the names of the fields of `POST /v1/completions`.
#[derive(Debug, Serialize, ToSchema)]
struct SamplingParams<'a> {
    n: u32,
    /// Whether the answer begins with the decoder prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<bool>,
    max_tokens: u32,
    min_tokens: u32,
    ignore_eos: bool,
    stop: &'a Vec<String>,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    /// Null where each run draws its own.
    seed: Option<u64>,
    /// Alternatives of each token; null without log-probabilities.
    logprobs: Option<u32>,
    /// Alternatives of each token of the decoder prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<u32>,
    use_beam_search: bool,
    /// `auto` or `off`.
    speculation: &'static str,
    /// Continuations that the choices are the best of, or the width of a beam search.
    #[serde(skip_serializing_if = "Option::is_none")]
    best_of: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length_penalty: Option<f64>,
    /// `true`, `false` or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    early_stopping: Option<Value>,
    #[serde(flatten)]
    controls: RenderedControls,
    /// The form of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_outputs: Option<RenderedStructure<'a>>,
}

/// Whether a request has one source or a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenderedForm {
    /// A conversation.
    One,
    /// Prompts.
    List,
}

impl CallSources {
    /// The form in which these sources are rendered.
    pub const fn rendered_form(&self) -> RenderedForm {
        match self {
            Self::Prompts(_) => RenderedForm::List,
            Self::Conversation(_) => RenderedForm::One,
        }
    }
}

/// The requests of a call as JSON.
pub fn rendered(model: &ServedModel, call: &GenerationCall, tokens: &TokenisedCall, form: RenderedForm) -> String {
    let prefix = if form == RenderedForm::One { "chatcmpl" } else { "cmpl" };
    let targets = tokens.sources.iter().flat_map(|source| tokens.beginnings.iter().map(move |begun| (source, begun)));
    let requests = targets.map(|(source, beginning)| RenderedRequest {
        request_id: format!("{prefix}-{}", random_name()),
        model: &model.name,
        prompt: source.text.as_ref().map(|text| format!("{}{text}{}", tokens.around.before, tokens.around.after)),
        token_ids: &source.ids,
        decoder_token_ids: std::iter::once(model.start_token).chain(beginning.ids.iter().copied()).collect(),
        sampling_params: sampling_params(model, call, tokens),
        stream: call.stream,
    });
    let requests: Vec<_> = requests.collect();
    let json = match (form, &requests[..]) {
        (RenderedForm::One, [only]) => serde_json::to_string(only),
        _ => serde_json::to_string(&requests),
    };
    json.expect("strings and numbers serialise")
}

fn sampling_params<'a>(model: &ServedModel, call: &'a GenerationCall, tokens: &TokenisedCall) -> SamplingParams<'a> {
    let sampling = call.sampling;
    SamplingParams {
        n: call.choices,
        echo: call.echo.then_some(true),
        max_tokens: call.known_max_tokens(),
        min_tokens: call.known_min_tokens(),
        ignore_eos: call.ignore_eos,
        stop: &call.stop,
        // A search draws no tokens.
        temperature: if call.beams.is_some() { 0.0 } else { sampling.temperature },
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        seed: call.seed,
        logprobs: call.log_probs,
        prompt_logprobs: call.prompt_log_probs,
        use_beam_search: call.beams.is_some(),
        speculation: if call.speculation { "auto" } else { "off" },
        best_of: call.beams.map(|beams| beams.width).or(call.best_of),
        length_penalty: call.beams.map(|beams| beams.length_penalty),
        early_stopping: call.beams.map(|beams| match beams.early_stopping {
            EarlyStopping::Full => Value::from(true),
            EarlyStopping::Unlikely => Value::from(false),
            EarlyStopping::Impossible => Value::from("never"),
        }),
        controls: RenderedControls::of(call.text_options, &tokens.controls, &model.defaults.controls),
        structured_outputs: call.structure.as_ref().map(|given| RenderedStructure::of(&given.form)),
    }
}
