//! From settings to a model that can run: weights, tokenizer, limits, engine.
//!
//! Called by the commands. The only place that knows where weights come from and which backend runs them.

mod fit;
mod place;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use fit::{MemoryNeed, Remedy};
use fit::{check_weights, fit_pool};
use kernels::Scheme;
use kernels::cpu::Cpu;
use kernels::profiled::Profile;
use model::{
    Arithmetic, Checkpoint, Classifier, ClassifierCheckpoint, ModelConfig, PositionLimits, RandomWeights, TensorSource,
    Tokenizer, WeightSource, WorkspaceLimits, scheme_name, shapes,
};
use place::{Place, Resident};

use crate::config::{Config, CudaConfig, Limits, ModelChoice, ModelSource, Quantize, TokenizerSource};
use crate::engine::{Engine, EngineLimits, EngineSettings, Executor, StepSizes};
use crate::process::memory::MemoryBounds;
use crate::process::progress::LoadProgress;
use crate::registry::RegistryError;
use crate::scheduler::{BoundaryTokens, PoolSize, SchedulerLimits};
use crate::telemetry::EngineMetrics;

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Files or shapes.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Instructions or memory.
    #[error(transparent)]
    Kernels(#[from] kernels::Error),
    /// The checkpoint's folder has no tokenizer.
    #[error(
        "{origin} holds no tokenizer.json: put it there, name one with --tokenizer FILE, or serve token ids only with --tokenizer none"
    )]
    NoTokenizer {
        /// The folder.
        origin: String,
    },
    /// The tokenizer makes ids that the model has no rows for.
    #[error("the tokenizer has ids up to {max_id}, the model a vocabulary of {vocab}: they do not belong together")]
    ForeignTokenizer {
        /// Largest id of the tokenizer.
        max_id: u32,
        /// Rows of the embedding table.
        vocab: usize,
    },
    /// The page pool holds no request at all.
    #[error(
        "limits.page_pool_bytes = {pool_bytes} holds {pages} pages of {page_bytes} bytes; at least 2 are needed for the smallest request"
    )]
    PoolTooSmall {
        /// Configured.
        pool_bytes: usize,
        /// Pages it gives.
        pages: usize,
        /// Size of one.
        page_bytes: usize,
    },
    /// The process would be killed under load.
    #[error("the server may take {need}, and {} allows {limit_mib} MiB: {remedy}", file.display())]
    MemoryLimit {
        /// What it would take.
        need: MemoryNeed,
        /// What it may take.
        limit_mib: u64,
        /// Where that is set.
        file: PathBuf,
        /// What can be done.
        remedy: Remedy,
    },
    /// The numbers of a quantised checkpoint cannot be had back.
    #[error(
        "{origin} is quantised to {}: leave --quantize away to use it so, or give the original checkpoint",
        scheme_name(*scheme)
    )]
    Quantized {
        /// The folder.
        origin: String,
        /// What it is quantised to.
        scheme: Scheme,
    },
    /// The GPU that was asked for.
    #[error("the GPU cannot be used; --device auto would take the processor")]
    Gpu(#[source] kernels::Error),
    /// A checkpoint that is not served, for a GPU.
    #[error("{origin} is no encoder-decoder, and computed on the processor only: leave --device cuda away")]
    OnlyProcessor {
        /// The folder.
        origin: String,
    },
    /// Models that cannot be served together.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No engine thread.
    #[error("cannot start the engine thread")]
    Thread(#[source] std::io::Error),
}

/// A model in memory, before it has pages.
pub struct Loaded {
    /// Text to ids; absent where ids are all that is served.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Instructions the kernels use: a level of the processor's, or "cuda".
    pub instruction_set: &'static str,
    model: Box<dyn Resident>,
    /// Whether weights and pages lie in the memory of this machine, not of a GPU.
    in_main_memory: bool,
    /// Steps that are rehearsed, where that pays.
    rehearsed: StepSizes,
}

/// Loads weights and tokenizer.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load(config: &Config) -> Result<Loaded, LoadError> {
    load_on(config, None)
}

/// As [`load`], and every op is measured.
///
/// # Errors
/// As [`load`].
pub fn load_profiled(config: &Config, profile: &Profile) -> Result<Loaded, LoadError> {
    load_on(config, Some(profile))
}

fn load_on(config: &Config, profile: Option<&Profile>) -> Result<Loaded, LoadError> {
    let choice = &config.model;
    let mut checkpoint = match &choice.source {
        ModelSource::Demo => Some(Checkpoint::embedded()?),
        ModelSource::Checkpoint(folder) => Some(Checkpoint::open(folder)?),
        ModelSource::Shape(_) => None,
    };
    if let Some(checkpoint) = &mut checkpoint {
        checkpoint.limit_positions(positions(config));
        warn_of_ignored_keys(checkpoint);
    }
    let quantize = quantization(choice.quantize, checkpoint.as_ref())?;
    // A tokenizer is small and may be wrong: look at it before the long part.
    let tokenizer = tokenizer(&choice.tokenizer, checkpoint.as_ref())?;
    let source: Box<dyn WeightSource> = match (&choice.source, checkpoint) {
        (ModelSource::Shape(name), _) => {
            let mut shape = shapes::shape(name)?;
            shape.limit_positions(positions(config));
            Box::new(RandomWeights::new(shape))
        }
        (_, Some(checkpoint)) => Box::new(checkpoint),
        (_, None) => unreachable!("every source but a shape is a checkpoint"),
    };
    if let Some(tokenizer) = &tokenizer {
        let config = source.config();
        check_vocabulary(tokenizer, config.encoder.vocab.min(config.decoder.vocab))?;
    }
    let (place, arithmetic) = place::find(config, quantize)?;
    let (instruction_set, in_main_memory) = (place.instruction_set(), matches!(place, Place::Processor(..)));
    if in_main_memory {
        check_weights(source.config().least_weight_bytes(arithmetic), &MemoryBounds::read())?;
    }
    let progress = LoadProgress::new("loading", source.total_bytes());
    let model = place.load(source.as_ref(), arithmetic, profile, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    tracing::debug!(%arithmetic, device = model.describe(), "the model is loaded");
    let CudaConfig { step_row_buckets, step_source_tokens, step_target_tokens, .. } = &config.cuda;
    let (source_tokens, target_tokens) = (*step_source_tokens, *step_target_tokens);
    let rehearsed = StepSizes { rows: step_row_buckets.clone(), source_tokens, target_tokens };
    Ok(Loaded { tokenizer: tokenizer.map(Arc::new), instruction_set, model, in_main_memory, rehearsed })
}

/// The longest sequences that requests may have.
fn positions(config: &Config) -> PositionLimits {
    let limits = &config.limits;
    PositionLimits { source_tokens: limits.source_tokens, target_tokens: limits.target_tokens }
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

/// Loads an encoder that classifies, which is evaluated and never served, with its tokenizer.
///
/// # Errors
/// As [`load`].
pub fn load_classifier(config: &Config, folder: &Path) -> Result<(Classifier<Cpu>, Option<Tokenizer>), LoadError> {
    let choice = &config.model;
    let mut checkpoint = ClassifierCheckpoint::open(folder)?;
    checkpoint.limit_source(config.limits.source_tokens);
    let tokenizer = tokenizer_beside(choice, folder, checkpoint.config().encoder.vocab)?;
    let progress = LoadProgress::new("loading", checkpoint.total_bytes());
    let quantize = match choice.quantize {
        Quantize::To(scheme) => Some(scheme),
        Quantize::Auto | Quantize::None => None,
    };
    let arithmetic = Arithmetic { quantize, ..choice.precision.into() };
    let backend = place::processor(choice)?;
    let classifier = Classifier::load(backend, &checkpoint, arithmetic, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    Ok((classifier, tokenizer))
}

/// The tokenizer for a checkpoint in `folder` that is not served.
///
/// # Errors
/// When there is none, it cannot be used, or it has ids beyond `vocab`.
pub fn tokenizer_beside(choice: &ModelChoice, folder: &Path, vocab: usize) -> Result<Option<Tokenizer>, LoadError> {
    let own = folder.join("tokenizer.json");
    let path = match &choice.tokenizer {
        TokenizerSource::File(path) => path,
        TokenizerSource::Checkpoint if own.exists() => &own,
        TokenizerSource::Checkpoint => return Err(LoadError::NoTokenizer { origin: folder.display().to_string() }),
        TokenizerSource::None => return Ok(None),
    };
    let tokenizer = Tokenizer::from_file(path)?;
    check_vocabulary(&tokenizer, vocab)?;
    Ok(Some(tokenizer))
}

/// What to quantise to; a quantised checkpoint leaves no choice.
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

fn tokenizer(choice: &TokenizerSource, checkpoint: Option<&Checkpoint>) -> Result<Option<Tokenizer>, LoadError> {
    match (choice, checkpoint) {
        (TokenizerSource::File(path), _) => Ok(Some(Tokenizer::from_file(path)?)),
        (TokenizerSource::None, _) | (TokenizerSource::Checkpoint, None) => Ok(None),
        (TokenizerSource::Checkpoint, Some(checkpoint)) => match checkpoint.tokenizer_json()? {
            Some(json) => Ok(Some(Tokenizer::from_bytes(&json)?)),
            None => Err(LoadError::NoTokenizer { origin: checkpoint.origin().display().to_string() }),
        },
    }
}

fn check_vocabulary(tokenizer: &Tokenizer, vocab: usize) -> Result<(), LoadError> {
    let max_id = tokenizer.max_id();
    if max_id as usize >= vocab { Err(LoadError::ForeignTokenizer { max_id, vocab }) } else { Ok(()) }
}

impl Loaded {
    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// How it computes.
    pub fn arithmetic(&self) -> Arithmetic {
        self.model.arithmetic()
    }

    /// Where it computes, for people: device, and what matters of it.
    pub fn device(&self) -> String {
        self.model.describe()
    }

    /// Speed of the device's memory, measured now.
    ///
    /// # Errors
    /// When there is no memory to measure with.
    pub fn memory_bytes_per_s(&self) -> Result<f64, LoadError> {
        Ok(self.model.bytes_per_s()?)
    }

    /// Multiplications and additions a second that the device does in a large product, measured now.
    ///
    /// # Errors
    /// When there is no memory to measure with.
    pub fn products_per_s(&self) -> Result<f64, LoadError> {
        Ok(self.model.products_per_s()?)
    }

    /// Whether greedy steps read a smaller copy of the output table.
    pub fn screens_output(&self) -> bool {
        self.model.screens_output()
    }

    /// The limits that hold for this model under these settings.
    ///
    /// # Errors
    /// When the page pool is too small for any request.
    pub fn limits(&self, config: &Config) -> Result<EngineLimits, LoadError> {
        let (limits, model) = (&config.limits, self.config());
        let page_bytes = self.page_bytes();
        let pages = limits.page_pool_bytes / page_bytes;
        if pages < 2 {
            return Err(LoadError::PoolTooSmall { pool_bytes: limits.page_pool_bytes, pages, page_bytes });
        }
        let pool = PoolSize { pages, source_page_tokens: self.arithmetic().cross_kv.page_tokens() };
        let steps = SchedulerLimits {
            pool,
            running_rows: limits.running_rows as usize,
            call_rows: limits.rows_of_a_call(),
            step_rows: limits.step_rows as usize,
            step_encoder_tokens: limits.step_encoder_tokens as usize,
            encoder_layers: model.encoder.layers,
        };
        Ok(EngineLimits {
            queued_rows: limits.queued_rows,
            source_tokens: limits.source_tokens.min(model.encoder.max_positions),
            target_tokens: limits.target_tokens.min(model.decoder.max_positions),
            steps,
        })
    }

    /// The same limits with no more pages than fit the memory that `bounds` leave, or an error: as
    /// `limits.page_pool_fit` says. To be asked once the weights are loaded.
    ///
    /// # Errors
    /// When there is too little memory.
    pub fn fit(
        &self,
        mut fitted: EngineLimits,
        limits: &Limits,
        bounds: &MemoryBounds,
    ) -> Result<EngineLimits, LoadError> {
        if !self.in_main_memory {
            return Ok(fitted);
        }
        let page = self.page_bytes() as u64;
        let need = MemoryNeed {
            weights: bounds.resident.unwrap_or_else(|| self.config().least_weight_bytes(self.arithmetic())),
            workspace: self.model.workspace_bytes(workspace(&fitted)) as u64,
            requests: (limits.unparsed_body_bytes + limits.answer_bytes) as u64,
            pool: fitted.steps.pool.pages as u64 * page,
        };
        fitted.steps.pool.pages = (fit_pool(need, page, bounds, limits.page_pool_fit)? / page) as usize;
        Ok(fitted)
    }

    /// Bytes of one page.
    pub fn page_bytes(&self) -> usize {
        self.model.page_bytes()
    }

    /// Gives the model its pages and working memory and starts the engine on it.
    ///
    /// # Errors
    /// When there is no memory or no thread for it.
    pub fn start(self, limits: EngineLimits, metrics: Arc<EngineMetrics>) -> Result<Engine, LoadError> {
        self.start_with(limits, metrics, |executor| executor)
    }

    /// As [`Self::start`], with an executor made from the one that would run.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(
        self,
        limits: EngineLimits,
        metrics: Arc<EngineMetrics>,
        wrap: impl FnOnce(Box<dyn Executor>) -> Box<dyn Executor>,
    ) -> Result<Engine, LoadError> {
        let tokens = BoundaryTokens { start: self.config().start_token, end: self.config().end_tokens.clone() };
        let rehearsed = StepSizes {
            source_tokens: self.rehearsed.source_tokens.min(limits.source_tokens),
            target_tokens: self.rehearsed.target_tokens.min(limits.target_tokens),
            ..self.rehearsed
        };
        let executor = wrap(self.model.executor(limits.steps.pool.pages, workspace(&limits), &rehearsed)?);
        Engine::start(executor, EngineSettings { limits, tokens, metrics }).map_err(LoadError::Thread)
    }
}

/// Working memory for the largest step.
fn workspace(limits: &EngineLimits) -> WorkspaceLimits {
    WorkspaceLimits {
        source_rows: limits.source_tokens.max(limits.steps.step_encoder_tokens),
        target_rows: limits.steps.step_rows,
        logits_rows: limits.steps.step_rows,
    }
}
