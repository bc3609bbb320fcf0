//! An encoder without a decoder in memory: the limits it allows, and the engine that is started on it.
//!
//! Loaded for the `serve` command. It needs no page pool.

use std::path::Path;
use std::sync::Arc;

use model::{Arithmetic, EncoderCheckpoint, EncoderConfig, PagePieces, Tokenizer};

use super::device::{OpenDevice, open_device};
use super::error::LoadError;
use super::infilling::refuse_pieces;
use super::lanes::{encoder_cost, lane_rows};
use super::resident_encoder::ResidentEncoder;
use super::shared::Shared;
use super::tokenizer::{CheckpointFolder, shared_tokenizer_beside};
use crate::config::{Config, Limits, Quantize};
use crate::engine::{Engine, EngineLimits, EngineSettings, MaskLimits};
use crate::process::progress::LoadProgress;
use crate::scheduler::{BoundaryTokens, PoolSize, SchedulerLimits};
use crate::telemetry::EngineMetrics;

/// An encoder in memory.
pub struct LoadedEncoder {
    /// Tokenizer; absent where only ids are served.
    pub tokenizer: Option<Arc<Tokenizer>>,
    config: EncoderConfig,
    model: Box<dyn ResidentEncoder>,
    in_main_memory: bool,
}

/// An encoder of which everything is known but its weights.
pub(super) struct PreparedEncoder {
    tokenizer: Option<Arc<Tokenizer>>,
    checkpoint: EncoderCheckpoint,
    device: OpenDevice,
    arithmetic: Arithmetic,
}

impl PreparedEncoder {
    /// Looks at everything that takes little time: the encoder in a folder, and its tokenizer.
    pub fn new(config: &Config, folder: &Path, shared: &mut Shared) -> Result<Self, LoadError> {
        let choice = &config.model;
        refuse_pieces(choice, "the checkpoint is an encoder without a decoder, which writes no text")?;
        let mut checkpoint = EncoderCheckpoint::open(folder)?;
        checkpoint.limit_source(config.limits.source_tokens);
        let folder = CheckpointFolder { path: folder, vocab: checkpoint.config().encoder.vocab };
        let tokenizer = shared_tokenizer_beside(choice, &folder, shared)?;
        let quantize = match choice.quantize {
            Quantize::To(scheme) => Some(scheme),
            Quantize::Auto | Quantize::None => None,
        };
        let (device, arithmetic) = open_device(config, quantize, shared)?;
        Ok(Self { tokenizer, checkpoint, device, arithmetic })
    }

    /// Bytes of main memory that the weights take at least.
    pub fn least_weight_bytes(&self) -> u64 {
        match self.device {
            OpenDevice::Processor(..) => self.checkpoint.config().least_weight_bytes(self.arithmetic),
            OpenDevice::Gpu(_) => 0,
        }
    }

    /// Loads the weights.
    pub fn load(self) -> Result<LoadedEncoder, LoadError> {
        let Self { tokenizer, checkpoint, device, arithmetic } = self;
        let in_main_memory = matches!(device, OpenDevice::Processor(..));
        let progress = LoadProgress::new("loading", checkpoint.tensor_bytes());
        let model = device.load_encoder(&checkpoint, arithmetic, &mut |bytes| progress.advance(bytes))?;
        progress.finish();
        tracing::debug!(%arithmetic, device = model.describe(), "the encoder is loaded");
        Ok(LoadedEncoder { tokenizer, config: checkpoint.config().clone(), model, in_main_memory })
    }
}

impl LoadedEncoder {
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
            wait: limits.wait,
            source_tokens: limits.source_tokens.min(self.config.encoder.max_positions),
            target_tokens: 0,
            classes: self.config.labels.len(),
            writes_alone: false,
            exact_steps: 0,
            masks: MaskLimits::default(),
            steps: SchedulerLimits {
                pool: PoolSize {
                    pages: 0,
                    source_page_tokens: self.arithmetic().cross_kv.page_tokens(),
                    pieces: PagePieces::ONE,
                },
                running_rows: limits.running_rows as usize,
                call_rows: limits.rows_of_a_call(),
                step_rows: limits.step_rows as usize,
                step_encoder_tokens: limits.step_encoder_tokens as usize,
                draft_rows: 0,
                encoder: encoder_cost(&self.config.encoder, self.in_main_memory),
            },
        }
    }

    /// Bytes that its weights take at least.
    pub(super) fn least_weight_bytes(&self) -> u64 {
        self.config.least_weight_bytes(self.arithmetic())
    }

    /// Whether weights lie in the memory of this machine, not of a GPU.
    pub(super) const fn is_in_main_memory(&self) -> bool {
        self.in_main_memory
    }

    /// Bytes of the working memory of the largest batches.
    pub(super) fn workspace_bytes(&self, limits: &EngineLimits) -> usize {
        self.model.space_bytes(lane_rows(limits))
    }

    /// Gives the encoder working memory and starts the engine on it.
    ///
    /// # Errors
    /// When there is no memory or no thread for it.
    pub fn start(self, limits: EngineLimits, metrics: Arc<EngineMetrics>) -> Result<Engine, LoadError> {
        let executor = self.model.executor(lane_rows(&limits))?;
        // No target is ever begun.
        let tokens = BoundaryTokens { start: 0, end: Vec::new(), vocabulary: 0 };
        Engine::start(executor, EngineSettings { limits, tokens, metrics }).map_err(LoadError::Thread)
    }
}
