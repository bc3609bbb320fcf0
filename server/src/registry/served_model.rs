//! One served model as requests see it: its engine, its tokenizer, its vocabulary, and its names for tokens.

use std::sync::Arc;

use model::config::NamedWish;
use model::{Infilling, Tokenizer};

use super::capabilities::Capabilities;
use super::longest_token::LongestToken;
use super::token_name::token_name;
use crate::chat_template::ChatTemplate;
use crate::constraint::FormCompiler;
use crate::engine::{EngineHandle, EngineLimits};
use crate::job_pool::JobPool;
use crate::request::{Refusal, RequestDefaults};
use crate::telemetry::ModelMetrics;

/// A model that requests are answered with.
#[derive(Debug)]
pub struct ServedModel {
    /// Name that clients ask for, and the label `model` of its metrics.
    pub name: String,
    /// Other names that clients may ask for.
    pub aliases: Vec<String>,
    /// Seconds from 1970 until it was loaded.
    pub created: u64,
    /// The way into its engine, which knows the model's limits.
    pub engine: EngineHandle,
    /// Turns text into ids and back; without it only ids are served.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The most room that one of its tokens takes in an answer.
    pub longest_token: LongestToken,
    /// Compiles forms of answers; there is none without a tokenizer or without a decoder.
    pub compiler: Option<FormCompiler>,
    /// Turns conversations into text.
    pub chat: ChatTemplate,
    /// Threads that tokenise; models may share them.
    pub tokenizing: JobPool,
    /// Number of ids that the encoder knows.
    pub source_vocab: usize,
    /// Number of ids that the decoder knows.
    pub target_vocab: usize,
    /// The first token of every target.
    pub start_token: u32,
    /// Tokens that end a target, the first of which is scored at its end; none without a decoder.
    pub end_tokens: Vec<u32>,
    /// Defaults of requests for targets.
    pub defaults: RequestDefaults,
    /// The keys of `generation_config.json` that set them, each with its value.
    pub named_defaults: Vec<NamedWish>,
    /// How it is asked for the span between two texts, if it can be.
    pub infilling: Option<Infilling>,
    /// Width of the encoder's states.
    pub encoder_width: usize,
    /// Names of the classes that a head scores; none without a head.
    pub labels: Vec<String>,
    /// Its metrics.
    pub metrics: ModelMetrics,
}

impl ServedModel {
    /// Kinds of requests that it takes.
    pub const fn capabilities(&self) -> Capabilities {
        Capabilities {
            text: self.tokenizer.is_some(),
            generation: self.engine.limits().generates(),
            infilling: self.infilling.is_some(),
            classes: !self.labels.is_empty(),
        }
    }

    /// Checks that it generates targets.
    ///
    /// # Errors
    /// [`Refusal::NoDecoder`].
    pub const fn check_generates(&self) -> Result<(), Refusal> {
        if self.capabilities().generation { Ok(()) } else { Err(Refusal::NoDecoder) }
    }

    /// Checks that it scores classes.
    ///
    /// # Errors
    /// [`Refusal::NoClasses`].
    pub const fn check_classifies(&self) -> Result<(), Refusal> {
        if self.capabilities().classes { Ok(()) } else { Err(Refusal::NoClasses) }
    }

    /// Whether clients may ask for it by this name.
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// Its name, then its aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.name].into_iter().chain(&self.aliases).map(String::as_str)
    }

    /// Limits of its requests.
    pub const fn limits(&self) -> &EngineLimits {
        self.engine.limits()
    }

    /// The name of a token in `logprobs`.
    pub fn token_name(&self, id: u32) -> String {
        token_name(self.tokenizer.as_deref(), id)
    }
}
