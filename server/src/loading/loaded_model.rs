//! A model in memory that can be served: an encoder-decoder, or an encoder alone.
//!
//! Loaded by the `serve` command, which does not care which of them it is.

use std::sync::Arc;

use model::checkpoint::architecture_of;
use model::config::{Architecture, NamedWish, Stacks};
use model::{Arithmetic, Infilling, Tokenizer};

use super::error::LoadError;
use super::failures::{OfModel, all_of};
use super::fetched::fetched;
use super::fit::check_weights;
use super::load::Prepared;
use super::loaded::Loaded;
use super::loaded_encoder::{LoadedEncoder, PreparedEncoder};
use super::shared::Shared;
use crate::chat_template::ChatTemplate;
use crate::config::{Config, Configs, ModelSource};
use crate::engine::{Engine, EngineLimits};
use crate::process::memory::MemoryBounds;
use crate::request::RequestDefaults;
use crate::telemetry::{EngineMetrics, in_model_span};

/// Steps of a template that is never rendered.
const PLAIN_STEPS: u64 = 1;

/// A model in memory.
pub enum LoadedModel {
    /// It generates, and gives the states of its encoder.
    EncoderDecoder(Box<Loaded>),
    /// It gives states, and scores of classes if it has a head.
    Encoder(Box<LoadedEncoder>),
}

/// The facts of a model that requests depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFacts {
    /// Number of ids that the encoder knows.
    pub source_vocab: usize,
    /// Number of ids that the decoder knows; 0 without one.
    pub target_vocab: usize,
    /// First token of every target; meaningless without a decoder.
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
    /// Size in words, such as "4+4 layers of width 192".
    pub size: String,
}

/// A model of which everything is known but its weights.
enum PreparedModel<'a> {
    EncoderDecoder(Box<Prepared<'a>>),
    Encoder(Box<PreparedEncoder>),
}

impl<'a> PreparedModel<'a> {
    fn new(config: &'a Config, shared: &mut Shared) -> Result<Self, LoadError> {
        let config = fetched(config)?;
        if let ModelSource::Checkpoint(folder) = &config.model.source {
            let Architecture { stacks, causal_encoder, .. } = architecture_of(folder)?;
            if stacks == Stacks::Encoder && !causal_encoder {
                return Ok(Self::Encoder(Box::new(PreparedEncoder::new(&config, folder, shared)?)));
            }
        }
        Ok(Self::EncoderDecoder(Box::new(Prepared::new(config, shared)?)))
    }

    /// Bytes of main memory that the weights take at least.
    fn least_weight_bytes(&self) -> u64 {
        match self {
            Self::EncoderDecoder(prepared) => prepared.least_weight_bytes(),
            Self::Encoder(prepared) => prepared.least_weight_bytes(),
        }
    }

    fn load(self) -> Result<LoadedModel, LoadError> {
        Ok(match self {
            Self::EncoderDecoder(prepared) => LoadedModel::EncoderDecoder(Box::new(prepared.load(None)?)),
            Self::Encoder(prepared) => LoadedModel::Encoder(Box::new(prepared.load()?)),
        })
    }
}

impl LoadedModel {
    /// Loads weights and tokenizer of the model that the settings name.
    ///
    /// # Errors
    /// When files, shapes, instructions or memory do not allow it.
    pub fn load(config: &Config) -> Result<Self, LoadError> {
        PreparedModel::new(config, &mut Shared::default())?.load()
    }

    /// Loads all models of a process. Equal tokenizers and threads are shared, and no weights are loaded before
    /// everything that takes little time is looked at for each model.
    ///
    /// # Errors
    /// The errors of all models that cannot be loaded.
    pub fn load_all(configs: &Configs) -> Result<Vec<Self>, LoadError> {
        let mut shared = Shared::default();
        let named = |config: &Config| config.model.served_name.clone();
        let prepared = all_of(configs.iter().map(|config| {
            let result = in_model_span(&named(config), || PreparedModel::new(config, &mut shared));
            OfModel { name: named(config), result }
        }))?;
        check_weights(prepared.iter().map(PreparedModel::least_weight_bytes).sum(), &MemoryBounds::read())?;
        all_of(configs.iter().zip(prepared).map(|(config, prepared)| {
            let result = in_model_span(&named(config), || prepared.load());
            OfModel { name: named(config), result }
        }))
    }

    /// The limits that hold for this model under these settings.
    ///
    /// # Errors
    /// When the page pool is too small for any request.
    pub fn limits(&self, config: &Config) -> Result<EngineLimits, LoadError> {
        match self {
            Self::EncoderDecoder(loaded) => loaded.limits(config),
            Self::Encoder(loaded) => Ok(loaded.limits(&config.limits)),
        }
    }

    /// Whether its weights lie in the memory of this machine, not of a GPU.
    pub(super) fn is_in_main_memory(&self) -> bool {
        match self {
            Self::EncoderDecoder(loaded) => loaded.in_main_memory,
            Self::Encoder(loaded) => loaded.is_in_main_memory(),
        }
    }

    /// Bytes that its weights take at least.
    pub(super) fn least_weight_bytes(&self) -> u64 {
        match self {
            Self::EncoderDecoder(loaded) => loaded.least_weight_bytes(),
            Self::Encoder(loaded) => loaded.least_weight_bytes(),
        }
    }

    /// Bytes of its working memory under these limits.
    pub(super) fn workspace_bytes(&self, limits: &EngineLimits) -> usize {
        match self {
            Self::EncoderDecoder(loaded) => loaded.workspace_bytes(limits),
            Self::Encoder(loaded) => loaded.workspace_bytes(limits),
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

    /// Its chat template. An encoder alone does not chat and has the plain form.
    pub fn chat(&self) -> ChatTemplate {
        match self {
            Self::EncoderDecoder(loaded) => loaded.chat.clone(),
            Self::Encoder(_) => ChatTemplate::plain(PLAIN_STEPS),
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
                    end_tokens: Vec::new(),
                    defaults: RequestDefaults::default(),
                    named_defaults: Vec::new(),
                    infilling: None,
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
        end_tokens: model.end_tokens.clone(),
        defaults: loaded.defaults.clone(),
        named_defaults: loaded.named_defaults.clone(),
        infilling: loaded.infilling.clone(),
        encoder_width: encoder.hidden,
        labels: Vec::new(),
        size: format!("{}+{} layers of {width}", encoder.layers, decoder.layers),
    }
}
