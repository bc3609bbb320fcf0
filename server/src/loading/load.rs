//! From settings to a model in memory: its checkpoint, tokenizer, device and weights.
//!
//! Called by the commands.

use std::borrow::Cow;
use std::sync::Arc;

use kernels::Scheme;
use kernels::profiled::Profile;
use model::config::NamedWish;
use model::{
    Arithmetic, Checkpoint, Infilling, ModelConfig, PagePieces, PositionLimits, RandomWeights, Tokenizer, WeightSource,
    shapes,
};

use super::chat::served_template;
use super::device::{OpenDevice, open_device};
use super::error::LoadError;
use super::fetched::fetched;
use super::fit::check_weights;
use super::infilling::{Known, served_infilling};
use super::loaded::Loaded;
use super::request_defaults::checkpoint_defaults;
use super::shared::Shared;
use super::tokenizer::{check_vocabulary, served_tokenizer};
use crate::chat_template::ChatTemplate;
use crate::config::{Config, CudaConfig, GenerationConfig, ModelSource, Quantize};
use crate::engine::StepSizes;
use crate::process::memory::MemoryBounds;
use crate::process::progress::LoadProgress;
use crate::request::RequestDefaults;
use crate::scheduler::PoolSize;

/// Loads weights and tokenizer.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load(config: &Config) -> Result<Loaded, LoadError> {
    Prepared::new(fetched(config)?, &mut Shared::default())?.load(None)
}

/// Loads a model as [`load`] does, with every op measured.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load_profiled(config: &Config, profile: &Profile) -> Result<Loaded, LoadError> {
    Prepared::new(fetched(config)?, &mut Shared::default())?.load(Some(profile))
}

/// An encoder-decoder of which everything is known but its weights.
pub(super) struct Prepared<'a> {
    config: Cow<'a, Config>,
    source: Box<dyn WeightSource>,
    tokenizer: Option<Arc<Tokenizer>>,
    chat: ChatTemplate,
    defaults: RequestDefaults,
    named_defaults: Vec<NamedWish>,
    infilling: Option<Infilling>,
    device: OpenDevice,
    arithmetic: Arithmetic,
}

impl<'a> Prepared<'a> {
    /// Looks at everything that takes little time. The checkpoint is on this machine.
    pub fn new(config: Cow<'a, Config>, shared: &mut Shared) -> Result<Self, LoadError> {
        let choice = &config.model;
        let checkpoint = match &choice.source {
            ModelSource::Demo => Some(Checkpoint::embedded()?),
            ModelSource::Checkpoint(folder) => Some(Checkpoint::open(folder)?),
            ModelSource::Shape(_) => None,
            ModelSource::Hub(_) => unreachable!("a checkpoint of the hub is a folder once it is fetched"),
        };
        if let Some(checkpoint) = &checkpoint {
            if checkpoint.has_vision_tower() {
                tracing::info!("the checkpoint has a tower for images, which is not loaded: sources are texts");
            }
            if config.model.generation_config == GenerationConfig::Auto {
                warn_of_ignored_keys(checkpoint);
            }
        }
        let (defaults, named_defaults) = match &checkpoint {
            Some(checkpoint) => checkpoint_defaults(&config, checkpoint)?,
            None => Default::default(),
        };
        let vocab = |config: &ModelConfig| config.encoder.vocab.min(config.decoder.vocab);
        let trained = match &checkpoint {
            Some(checkpoint) => checkpoint.document().denoising_tokens(vocab(checkpoint.config()))?,
            None => None,
        };
        let quantize = quantization(choice.quantize, checkpoint.as_ref())?;
        let (device, arithmetic) = open_device(&config, quantize, shared)?;
        let positions = |model: &ModelConfig| {
            let pages = config.limits.page_pool_bytes / device.page_bytes(model, arithmetic);
            let source_page_tokens = arithmetic.cross_kv.page_tokens();
            positions(&config, model, PoolSize { pages, source_page_tokens, pieces: PagePieces::ONE })
        };
        let shape = match &choice.source {
            ModelSource::Shape(name) => Some(shapes::shape(name)?),
            _ => None,
        };
        let described = checkpoint.as_ref().map(Checkpoint::config).or(shape.as_ref());
        let vocab = vocab(described.expect("every source but a shape is a checkpoint"));
        let tokenizer = served_tokenizer(&choice.tokenizer, checkpoint.as_ref(), vocab, shared)?;
        let chat = served_template(&config, checkpoint.as_ref(), tokenizer.as_deref())?;
        let source: Box<dyn WeightSource> = match (shape, checkpoint) {
            (Some(mut shape), _) => {
                shape.limit_positions(positions(&shape));
                Box::new(RandomWeights::new(shape))
            }
            (None, Some(mut checkpoint)) => {
                checkpoint.limit_positions(positions(checkpoint.config()));
                Box::new(checkpoint)
            }
            (None, None) => unreachable!("every source but a shape is a checkpoint"),
        };
        let tokens = tokenizer.as_deref();
        if let Some(tokenizer) = tokens {
            check_vocabulary(tokenizer, vocab)?;
        }
        let infilling = served_infilling(choice, Known { tokenizer: tokens, trained, vocab })?;
        let prepared =
            Self { config, source, tokenizer, chat, defaults, named_defaults, infilling, device, arithmetic };
        check_weights(prepared.least_weight_bytes(), &MemoryBounds::read())?;
        Ok(prepared)
    }

    /// Bytes of main memory that the weights take at least.
    pub fn least_weight_bytes(&self) -> u64 {
        match self.device {
            OpenDevice::Processor(..) => self.source.config().least_weight_bytes(self.arithmetic),
            OpenDevice::Gpu(_) => 0,
        }
    }

    /// Loads the weights; with `profile`, the model's ops are measured.
    pub fn load(self, profile: Option<&Profile>) -> Result<Loaded, LoadError> {
        let Self { config, source, tokenizer, chat, defaults, named_defaults, infilling, device, arithmetic } = self;
        let (instruction_set, in_main_memory) = (device.instruction_set(), matches!(device, OpenDevice::Processor(..)));
        let progress = LoadProgress::new("loading", source.total_bytes());
        let model = device.load(source.as_ref(), arithmetic, profile, &mut |bytes| progress.advance(bytes))?;
        progress.finish();
        tracing::debug!(%arithmetic, device = model.describe(), "the model is loaded");
        let CudaConfig { step_row_buckets, step_source_tokens, step_target_tokens, .. } = &config.cuda;
        let (source_tokens, target_tokens) = (*step_source_tokens, *step_target_tokens);
        let rehearsed = StepSizes { rows: step_row_buckets.clone(), source_tokens, target_tokens };
        Ok(Loaded {
            tokenizer,
            chat,
            defaults,
            named_defaults,
            infilling,
            instruction_set,
            model,
            in_main_memory,
            rehearsed,
        })
    }
}

/// The longest sequences that requests may have: a source has to fit the page pool.
fn positions(config: &Config, model: &ModelConfig, pool: PoolSize) -> PositionLimits {
    let (limits, fitting) = (&config.limits, pool.longest_source().max(1));
    let wanted = limits.source_tokens.min(model.encoder.max_positions);
    if fitting < wanted {
        tracing::info!(
            "sources have at most {fitting} tokens of {wanted}, because the page pool holds no more: raise \
             limits.page_pool_bytes for longer ones"
        );
    }
    PositionLimits { source_tokens: wanted.min(fitting), target_tokens: limits.target_tokens }
}

fn warn_of_ignored_keys(checkpoint: &Checkpoint) {
    let keys = checkpoint.document().ignored_generation_keys();
    if !keys.is_empty() {
        tracing::warn!(
            "these keys of generation_config.json have no effect here: {}; say in each request what they should do",
            keys.join(", ")
        );
    }
}

/// The scheme to quantise to; a quantised checkpoint leaves no choice.
fn quantization(choice: Quantize, checkpoint: Option<&Checkpoint>) -> Result<Option<Scheme>, LoadError> {
    let stored =
        checkpoint.and_then(|checkpoint| Some((checkpoint.origin().display().to_string(), checkpoint.scheme()?)));
    match (choice, stored) {
        (Quantize::Auto, stored) => Ok(stored.map(|(_, scheme)| scheme)),
        (Quantize::To(wanted), Some((_, scheme))) if wanted == scheme => Ok(Some(scheme)),
        (_, Some((origin, scheme))) => Err(LoadError::Quantized { origin, scheme }),
        (Quantize::None, None) => Ok(None),
        (Quantize::To(wanted), None) => Ok(Some(wanted)),
    }
}
