//! From settings to a model that can run: weights, tokenizer, limits, engine.
//!
//! Called by the commands. The only place that knows where weights come from and which backend runs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernels::cpu::{Cpu, Isa, Level};
use model::{Checkpoint, Model, ModelConfig, RandomWeights, Tokenizer, WeightSource, WorkspaceLimits, shapes};

use crate::config::{Config, ModelChoice, ModelSource, TokenizerSource};
use crate::engine::{Engine, EngineLimits, EngineSettings, ModelExecutor};
use crate::progress::LoadProgress;
use crate::scheduler::{ModelTokens, SchedulerLimits};
use crate::telemetry::Metrics;

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Files or shapes.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Instructions or memory.
    #[error(transparent)]
    Kernels(#[from] kernels::Error),
    /// The tokenizer file cannot be read.
    #[error("cannot read the tokenizer {}", path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
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
    /// No engine thread.
    #[error("cannot start the engine thread")]
    Thread(#[source] std::io::Error),
}

/// A model in memory, before it has pages.
pub struct Loaded {
    /// The model.
    pub model: Model<Cpu>,
    /// Text to ids; absent where ids are all that is served.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Instructions the kernels use.
    pub level: Level,
}

/// Limits as the model narrows them, and what follows from them.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// What the door checks.
    pub door: EngineLimits,
    /// What a step holds.
    pub steps: SchedulerLimits,
}

/// Loads weights and tokenizer.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load(choice: &ModelChoice) -> Result<Loaded, LoadError> {
    let isa = choice.instruction_set.map_or_else(|| Ok(Isa::detect()), Isa::force)?;
    let backend = Cpu::new(isa, choice.threads);
    let checkpoint = match &choice.source {
        ModelSource::Demo => Some(Checkpoint::embedded()?),
        ModelSource::Checkpoint(folder) => Some(Checkpoint::open(folder)?),
        ModelSource::Shape(_) => None,
    };
    // A tokenizer is small and may be wrong: look at it before the long part.
    let tokenizer = tokenizer(&choice.tokenizer, checkpoint.as_ref())?;
    let source: Box<dyn WeightSource> = match (&choice.source, checkpoint) {
        (ModelSource::Shape(name), _) => Box::new(RandomWeights::new(shapes::shape(name)?)),
        (_, Some(checkpoint)) => Box::new(checkpoint),
        (_, None) => unreachable!("every source but a shape is a checkpoint"),
    };
    if let Some(tokenizer) = &tokenizer {
        check_vocabulary(tokenizer, source.config())?;
    }
    let progress = LoadProgress::new(source.total_bytes());
    let model = Model::load(backend, source.as_ref(), choice.precision, &mut |bytes| progress.advance(bytes))?
        .with_cross_kv(choice.cross_kv);
    progress.finish();
    Ok(Loaded { model, tokenizer: tokenizer.map(Arc::new), level: isa.level() })
}

fn tokenizer(choice: &TokenizerSource, checkpoint: Option<&Checkpoint>) -> Result<Option<Tokenizer>, LoadError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| LoadError::TokenizerFile { path: path.to_owned(), source });
    match (choice, checkpoint) {
        (TokenizerSource::File(path), _) => Ok(Some(Tokenizer::from_bytes(&read(path)?)?)),
        (TokenizerSource::None, _) | (TokenizerSource::Checkpoint, None) => Ok(None),
        (TokenizerSource::Checkpoint, Some(checkpoint)) => match checkpoint.tokenizer_json()? {
            Some(json) => Ok(Some(Tokenizer::from_bytes(&json)?)),
            None => Err(LoadError::NoTokenizer { origin: checkpoint.origin().display().to_string() }),
        },
    }
}

fn check_vocabulary(tokenizer: &Tokenizer, config: &ModelConfig) -> Result<(), LoadError> {
    let (max_id, vocab) = (tokenizer.max_id(), config.encoder.vocab.min(config.decoder.vocab));
    if max_id as usize >= vocab { Err(LoadError::ForeignTokenizer { max_id, vocab }) } else { Ok(()) }
}

impl Loaded {
    /// The limits that hold for this model under these settings.
    ///
    /// # Errors
    /// When the page pool is too small for any request.
    pub fn capacity(&self, config: &Config) -> Result<Capacity, LoadError> {
        let (limits, model) = (&config.limits, self.model.config());
        let page_bytes = self.model.page_bytes();
        let pages = limits.page_pool_bytes / page_bytes;
        if pages < 2 {
            return Err(LoadError::PoolTooSmall { pool_bytes: limits.page_pool_bytes, pages, page_bytes });
        }
        let door = EngineLimits {
            queued_requests: limits.queued_requests,
            source_tokens: limits.source_tokens.min(model.encoder.max_positions),
            target_tokens: limits.target_tokens.min(model.decoder.max_positions),
            pages,
            source_page_tokens: self.model.cross_kv().page_tokens(),
        };
        let steps = SchedulerLimits {
            pages,
            source_page_tokens: door.source_page_tokens,
            running_rows: limits.running_rows as usize,
            step_rows: limits.step_rows as usize,
            step_encoder_tokens: limits.step_encoder_tokens as usize,
            encoder_layers: model.encoder.layers,
        };
        Ok(Capacity { door, steps })
    }

    /// Gives the model its pages and working memory and starts the engine on it.
    ///
    /// # Errors
    /// When there is no memory or no thread for it.
    pub fn start(self, capacity: Capacity, metrics: Metrics) -> Result<Engine, LoadError> {
        let Capacity { door, steps } = capacity;
        let tokens =
            ModelTokens { start: self.model.config().start_token, end: self.model.config().end_tokens.clone() };
        let workspace = WorkspaceLimits {
            source_rows: door.source_tokens.max(steps.step_encoder_tokens),
            target_rows: steps.step_rows,
            logits_rows: steps.step_rows,
        };
        let executor = ModelExecutor::new(self.model, door.pages, workspace)?;
        Engine::start(Box::new(executor), EngineSettings { door, steps, tokens, metrics }).map_err(LoadError::Thread)
    }
}
