//! A kind of request in the mix: what is asked, and how the client behaves.

use std::path::PathBuf;

use serde::Deserialize;

use super::lengths::Lengths;

/// A kind of request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestKind {
    /// Name in reports; without it, that of the endpoint.
    pub name: Option<String>,
    /// Weight in the mix: a kind's share is its weight over the sum of all.
    pub weight: f64,
    /// Endpoint that is asked.
    pub endpoint: Endpoint,
    /// Whether the answer is streamed. By default it is, but for beams and embeddings.
    pub stream: Option<bool>,
    /// JSON Lines file of prompts, taken in turn.
    pub prompts: Option<PathBuf>,
    /// Lengths of sources that are made up: tokens of `ids`, or words, of which most tokenizers make one token each or
    /// a little more.
    pub source_tokens: Lengths,
    /// Range of token ids that sources are drawn from, so that no tokenizer is needed; without it, sources are words.
    pub ids: Option<IdRange>,
    /// Share of requests that ask one of the repeated sources.
    pub repeated: f64,
    /// Number of different repeated sources.
    pub repeated_sources: u64,
    /// Lengths of targets: `max_tokens` of the request.
    pub max_tokens: Lengths,
    /// Whether the end token does not end an answer, so that it has exactly `max_tokens` tokens.
    pub ignore_eos: bool,
    /// Width of a beam search.
    pub beams: Option<u32>,
    /// File with a JSON schema that answers follow.
    pub schema: Option<PathBuf>,
    /// Further fields of the body, which win over all others.
    pub extra: toml::Table,
    /// Clients that leave early.
    pub cancel: Option<Cancel>,
    /// Clients that read slowly.
    pub slow: Option<Slow>,
    /// Clients that vanish.
    pub vanish: Option<Vanish>,
}

/// An endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `/v1/completions`.
    #[default]
    Completions,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/embeddings`.
    Embeddings,
}

/// A range of token ids, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// First id.
    pub from: u32,
    /// Last id.
    pub to: u32,
}

/// Clients that close the connection before the answer is whole.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Share of the kind's requests.
    pub share: f64,
    /// Milliseconds from sending to leaving.
    pub after_ms: f64,
}

/// Clients that pause between reads.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Share of the kind's requests.
    pub share: f64,
    /// Milliseconds of pause after each piece of the answer.
    pub pause_ms: f64,
}

/// Clients that send a request, read nothing, and keep the connection open without a word.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vanish {
    /// Share of the kind's requests.
    pub share: f64,
    /// Seconds until the connection is dropped.
    pub seconds: f64,
}

impl Default for RequestKind {
    fn default() -> Self {
        Self {
            name: None,
            weight: 1.0,
            endpoint: Endpoint::default(),
            stream: None,
            prompts: None,
            source_tokens: Lengths::Fixed(64),
            ids: None,
            repeated: 0.0,
            repeated_sources: 16,
            max_tokens: Lengths::Fixed(16),
            ignore_eos: false,
            beams: None,
            schema: None,
            extra: toml::Table::new(),
            cancel: None,
            slow: None,
            vanish: None,
        }
    }
}

impl RequestKind {
    /// Name in reports.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.endpoint.name())
    }

    /// Whether the answer is streamed.
    pub fn is_streamed(&self) -> bool {
        let can_stream = self.endpoint != Endpoint::Embeddings;
        can_stream && self.stream.unwrap_or(self.beams.is_none())
    }
}

impl Endpoint {
    /// Name in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
        }
    }

    /// Path below the server's address.
    pub fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }
}
