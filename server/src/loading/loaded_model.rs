//! A model in memory that can be served: an encoder-decoder, or an encoder alone.
//!
//! Loaded by the `serve` command, which does not care which of them it is.

use std::sync::Arc;

use model::checkpoint::architecture_of;
use model::config::{Architecture, Stacks};
use model::{Arithmetic, Tokenizer};

use super::error::LoadError;
use super::load::load;
use super::loaded::Loaded;
use super::loaded_encoder::LoadedEncoder;
use crate::config::{Config, ModelSource};
use crate::engine::{Engine, EngineLimits};
use crate::process::memory::MemoryBounds;
use crate::telemetry::EngineMetrics;

/// A model in memory.
pub enum LoadedModel {
    /// It generates, and gives the states of its encoder.
    EncoderDecoder(Box<Loaded>),
    /// It gives states, and scores of classes if it has a head.
    Encoder(Box<LoadedEncoder>),
}

/// The facts of a model that requests depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Number of ids that the encoder knows.
    pub source_vocab: usize,
    /// Number of ids that the decoder knows; 0 without one.
    pub target_vocab: usize,
    /// First token of every target; meaningless without a decoder.
    pub start_token: u32,
    /// Width of the encoder's states.
    pub encoder_width: usize,
    /// Names of the classes that a head scores; none without a head.
    pub labels: Vec<String>,
    /// Size in words, such as "4+4 layers of width 192".
    pub size: String,
}

impl From<Loaded> for LoadedModel {
    fn from(loaded: Loaded) -> Self {
        Self::EncoderDecoder(Box::new(loaded))
    }
}

impl LoadedModel {
    /// Loads weights and tokenizer of the model that the settings name.
    ///
    /// # Errors
    /// When files, shapes, instructions or memory do not allow it.
    pub fn load(config: &Config) -> Result<Self, LoadError> {
        if let ModelSource::Checkpoint(folder) = &config.model.source {
            let Architecture { stacks, causal_encoder, .. } = architecture_of(folder)?;
            if stacks == Stacks::Encoder && !causal_encoder {
                return Ok(Self::Encoder(Box::new(LoadedEncoder::load(config, folder)?)));
            }
        }
        Ok(load(config)?.into())
    }

    /// The limits that hold for this model under these settings and within these bounds.
    ///
    /// # Errors
    /// When there is too little memory, or the page pool is too small for any request.
    pub fn fitted_limits(&self, config: &Config, bounds: &MemoryBounds) -> Result<EngineLimits, LoadError> {
        match self {
            Self::EncoderDecoder(loaded) => loaded.fit(loaded.limits(config)?, &config.limits, bounds),
            Self::Encoder(loaded) => {
                let limits = loaded.limits(&config.limits);
                loaded.check_memory(&limits, &config.limits, bounds)?;
                Ok(limits)
            }
        }
    }

    /// Gives the model its memory and starts the engine on it.
    ///
    /// # Errors
    /// When there is no memory or no thread for it.
    pub fn start(self, limits: EngineLimits, metrics: Arc<EngineMetrics>) -> Result<Engine, LoadError> {
        match self {
            Self::EncoderDecoder(loaded) => loaded.start(limits, metrics),
            Self::Encoder(loaded) => loaded.start(limits, metrics),
        }
    }

    /// Its tokenizer; absent where only ids are served.
    pub fn tokenizer(&self) -> Option<Arc<Tokenizer>> {
        match self {
            Self::EncoderDecoder(loaded) => loaded.tokenizer.clone(),
            Self::Encoder(loaded) => loaded.tokenizer.clone(),
        }
    }

    /// Its arithmetic.
    pub fn arithmetic(&self) -> Arithmetic {
        match self {
            Self::EncoderDecoder(loaded) => loaded.arithmetic(),
            Self::Encoder(loaded) => loaded.arithmetic(),
        }
    }

    /// Description of its device, for people.
    pub fn device(&self) -> String {
        match self {
            Self::EncoderDecoder(loaded) => loaded.device(),
            Self::Encoder(loaded) => loaded.device(),
        }
    }

    /// Bytes of a page; 0 for a model without pages.
    pub fn page_bytes(&self) -> usize {
        match self {
            Self::EncoderDecoder(loaded) => loaded.page_bytes(),
            Self::Encoder(_) => 0,
        }
    }

    /// The facts that requests depend on.
    pub fn facts(&self) -> ModelFacts {
        match self {
            Self::EncoderDecoder(loaded) => pair_facts(loaded),
            Self::Encoder(loaded) => {
                let encoder = &loaded.config().encoder;
                ModelFacts {
                    source_vocab: encoder.vocab,
                    target_vocab: 0,
                    start_token: 0,
                    encoder_width: encoder.hidden,
                    labels: loaded.config().labels.clone(),
                    size: format!("{} encoder layers of width {}", encoder.layers, encoder.hidden),
                }
            }
        }
    }
}

fn pair_facts(loaded: &Loaded) -> ModelFacts {
    let model = loaded.config();
    let (encoder, decoder) = (&model.encoder, &model.decoder);
    let width = if encoder.hidden == decoder.hidden {
        format!("width {}", encoder.hidden)
    } else {
        format!("widths {}+{}", encoder.hidden, decoder.hidden)
    };
    ModelFacts {
        source_vocab: encoder.vocab,
        target_vocab: decoder.vocab,
        start_token: model.start_token,
        encoder_width: encoder.hidden,
        labels: Vec::new(),
        size: format!("{}+{} layers of {width}", encoder.layers, decoder.layers),
    }
}
