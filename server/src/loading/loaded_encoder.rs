//! An encoder without a decoder in memory: the limits it allows, and the engine that is started on it.
//!
//! Loaded for the `serve` command. It needs no page pool.

use std::path::Path;
use std::sync::Arc;

use model::{Arithmetic, EncoderCheckpoint, EncoderConfig, Tokenizer};

use super::device::{OpenDevice, open_device};
use super::error::LoadError;
use super::fit::check_fits;
use super::lanes::lane_rows;
use super::memory_need::MemoryNeed;
use super::resident_encoder::ResidentEncoder;
use super::tokenizer::tokenizer_beside;
use crate::config::{Config, Limits, Quantize};
use crate::engine::{Engine, EngineLimits, EngineSettings};
use crate::process::memory::MemoryBounds;
use crate::process::progress::LoadProgress;
use crate::scheduler::{BoundaryTokens, PoolSize, SchedulerLimits};
use crate::telemetry::EngineMetrics;

/// An encoder in memory.
pub struct LoadedEncoder {
    /// Tokenizer; absent where only ids are served.
    pub tokenizer: Option<Arc<Tokenizer>>,
    config: EncoderConfig,
    model: Box<dyn ResidentEncoder>,
    /// Bytes of its tensors in their files.
    weight_bytes: u64,
    /// Whether weights lie in the memory of this machine, not of a GPU.
    in_main_memory: bool,
}

impl LoadedEncoder {
    /// Loads the encoder in a folder with its tokenizer.
    ///
    /// # Errors
    /// When files, shapes, instructions or memory do not allow it.
    pub fn load(config: &Config, folder: &Path) -> Result<Self, LoadError> {
        let choice = &config.model;
        let mut checkpoint = EncoderCheckpoint::open(folder)?;
        checkpoint.limit_source(config.limits.source_tokens);
        let tokenizer = tokenizer_beside(choice, folder, checkpoint.config().encoder.vocab)?.map(Arc::new);
        let quantize = match choice.quantize {
            Quantize::To(scheme) => Some(scheme),
            Quantize::Auto | Quantize::None => None,
        };
        let (device, arithmetic) = open_device(config, quantize)?;
        let in_main_memory = matches!(device, OpenDevice::Processor(..));
        let weight_bytes = checkpoint.tensor_bytes();
        let progress = LoadProgress::new("loading", weight_bytes);
        let model = device.load_encoder(&checkpoint, arithmetic, &mut |bytes| progress.advance(bytes))?;
        progress.finish();
        tracing::debug!(%arithmetic, device = model.describe(), "the encoder is loaded");
        Ok(Self { tokenizer, config: checkpoint.config().clone(), model, weight_bytes, in_main_memory })
    }

    /// The encoder's configuration.
    pub const fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The encoder's arithmetic.
    pub fn arithmetic(&self) -> Arithmetic {
        self.model.arithmetic()
    }

    /// Description of the device, for people.
    pub fn device(&self) -> String {
        self.model.describe()
    }

    /// The limits that hold for this encoder under these settings.
    pub fn limits(&self, limits: &Limits) -> EngineLimits {
        EngineLimits {
            queued_rows: limits.queued_rows,
            source_tokens: limits.source_tokens.min(self.config.encoder.max_positions),
            target_tokens: 0,
            classes: self.config.labels.len(),
            steps: SchedulerLimits {
                pool: PoolSize { pages: 0, source_page_tokens: self.arithmetic().cross_kv.page_tokens() },
                running_rows: limits.running_rows as usize,
                call_rows: limits.rows_of_a_call(),
                step_rows: limits.step_rows as usize,
                step_encoder_tokens: limits.step_encoder_tokens as usize,
                encoder_layers: self.config.encoder.layers,
            },
        }
    }

    /// Checks that the memory needed under load fits what `bounds` leave. To be called once the weights are loaded.
    ///
    /// # Errors
    /// When there is too little memory.
    pub fn check_memory(&self, fitted: &EngineLimits, limits: &Limits, bounds: &MemoryBounds) -> Result<(), LoadError> {
        if !self.in_main_memory {
            return Ok(());
        }
        let need = MemoryNeed {
            weights: bounds.resident.unwrap_or(self.weight_bytes),
            workspace: self.model.space_bytes(lane_rows(fitted)) as u64,
            requests: (limits.unparsed_body_bytes + limits.answer_bytes) as u64,
            pool: 0,
        };
        check_fits(need, bounds)
    }

    /// Gives the encoder working memory and starts the engine on it.
    ///
    /// # Errors
    /// When there is no memory or no thread for it.
    pub fn start(self, limits: EngineLimits, metrics: Arc<EngineMetrics>) -> Result<Engine, LoadError> {
        let executor = self.model.executor(lane_rows(&limits))?;
        // No target is ever begun.
        let tokens = BoundaryTokens { start: 0, end: Vec::new() };
        Engine::start(executor, EngineSettings { limits, tokens, metrics }).map_err(LoadError::Thread)
    }
}
