//! Facts of a request as attributes of its span: those of HTTP, and those of the GenAI semantic conventions.
//!
//! Used by `visit`. No word of a prompt or an answer is among them.
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>

use super::visit::Completed;
use crate::telemetry::Outcome;
use crate::traces::{Attribute, RequestSpan, integer, number, text, texts};

/// Name of the system that answers.
const PROVIDER: &str = "encdec";
/// Operations of the conventions by route. Those that the conventions do not know have names of their own.
const OPERATIONS: [(&str, &str); 14] = [
    ("/v1/chat/completions", "chat"),
    ("/v1/responses", "chat"),
    ("/v1/completions", "text_completion"),
    ("/v1/embeddings", "embeddings"),
    ("/v1/encode", "embeddings"),
    ("/pooling", "embeddings"),
    ("/v1/classify", "classify"),
    ("/classify", "classify"),
    ("/v1/score", "score"),
    ("/v1/rerank", "rerank"),
    ("/v2/rerank", "rerank"),
    ("/rerank", "rerank"),
    ("/v1/chat/completions/render", "render"),
    ("/v1/completions/render", "render"),
];

/// Everything that is known of a request at its end.
#[derive(Debug)]
pub struct TraceFacts<'a> {
    /// Its name.
    pub id: Option<&'a str>,
    /// Method and route.
    pub route: &'a str,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The error's code, if it ended with one.
    pub error: Option<&'a str>,
    /// Name of the model; empty if it is not known.
    pub model: &'a str,
    /// Result of a request for a model.
    pub completed: Option<&'a Completed>,
}

impl TraceFacts<'_> {
    /// The span of the request.
    pub fn span(&self) -> RequestSpan {
        let (method, path) = self.route.split_once(' ').unwrap_or((self.route, ""));
        let mut attributes = vec![text("http.request.method", method), text("http.route", path)];
        attributes.extend(self.status.map(|status| integer("http.response.status_code", status)));
        attributes.extend(self.id.map(|id| texts("http.response.header.x-request-id", [id])));
        attributes.extend(self.error.map(|code| text("error.type", code)));
        attributes.push(text("encdec.outcome", self.outcome.label()));
        let operation = OPERATIONS.iter().find(|(route, _)| *route == path.trim_end_matches('/'));
        let name = match (operation, self.model) {
            (Some((_, operation)), "") => (*operation).to_owned(),
            (Some((_, operation)), model) => format!("{operation} {model}"),
            (None, _) => self.route.to_owned(),
        };
        if let Some((_, operation)) = operation {
            attributes.push(text("gen_ai.operation.name", *operation));
            attributes.push(text("gen_ai.provider.name", PROVIDER));
            if !self.model.is_empty() {
                let names = ["gen_ai.request.model", "gen_ai.response.model"];
                attributes.extend(names.map(|name| text(name, self.model)));
            }
            attributes.extend(self.completed.into_iter().flat_map(of_generation));
        }
        RequestSpan {
            name,
            attributes,
            has_failed: matches!(self.outcome, Outcome::Failed | Outcome::Unavailable | Outcome::Late),
        }
    }
}

/// Facts of what was asked of the model, and of what it used.
fn of_generation(completed: &Completed) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    if let Some(asked) = completed.asked {
        attributes.push(integer("gen_ai.request.max_tokens", asked.tokens));
        attributes.push(number("gen_ai.request.temperature", asked.sampling.temperature));
        attributes.push(number("gen_ai.request.top_p", asked.sampling.top_p));
        if asked.sampling.top_k > 0 {
            attributes.push(number("gen_ai.request.top_k", asked.sampling.top_k));
        }
        if asked.choices > 1 {
            attributes.push(integer("gen_ai.request.choice.count", asked.choices));
        }
        attributes.extend(asked.seed.map(|seed| integer("gen_ai.request.seed", seed)));
    }
    if completed.source_tokens > 0 {
        attributes.push(integer("gen_ai.usage.input_tokens", completed.source_tokens));
        attributes.push(integer("gen_ai.usage.output_tokens", completed.generated_tokens));
        attributes.push(integer("gen_ai.usage.cache_read.input_tokens", completed.cached_tokens));
    }
    let first = completed.first_token.map(|time| number("gen_ai.response.time_to_first_chunk", time.as_secs_f64()));
    attributes.extend(first);
    let ended = [("stop", completed.stopped_choices), ("length", completed.full_choices)];
    // One for each choice, as far as a span has room.
    const MOST: u64 = 64;
    let reasons: Vec<&str> =
        ended.iter().flat_map(|(reason, count)| (0..(*count).min(MOST)).map(move |_| *reason)).collect();
    if !reasons.is_empty() {
        attributes.push(texts("gen_ai.response.finish_reasons", reasons));
    }
    attributes
}
