//! A model in memory: what it is, the limits it allows, and the engine that is started on it.

use std::sync::Arc;

use kernels::SpeedMeter;
use model::config::{Generation, NamedWish};
use model::{Arithmetic, Infilling, ModelConfig, Tokenizer, WorkspaceLimits};

use super::device::Resident;
use super::error::LoadError;
use super::lanes::{encoder_cost, lane_rows};
use crate::chat_template::ChatTemplate;
use crate::config::{Config, Speculation};
use crate::engine::{Engine, EngineLimits, EngineSettings, Executor, MaskLimits, StepSizes};
use crate::request::RequestDefaults;
use crate::scheduler::{BoundaryTokens, PoolSize, SchedulerLimits};
use crate::telemetry::EngineMetrics;

/// A model in memory, before it has pages.
pub struct Loaded {
    /// Tokenizer; absent where only ids are served.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Turns conversations into text.
    pub chat: ChatTemplate,
    /// Defaults of requests.
    pub defaults: RequestDefaults,
    /// The keys of `generation_config.json` that set them, each with its value.
    pub named_defaults: Vec<NamedWish>,
    /// How it is asked for the span between two texts, if it can be.
    pub infilling: Option<Infilling>,
    /// Instructions the kernels use: a level of the processor's, or "cuda".
    pub instruction_set: &'static str,
    pub(super) model: Box<dyn Resident>,
    /// Whether weights and pages lie in the memory of this machine, not of a GPU.
    pub(super) in_main_memory: bool,
    /// Sizes of steps that are rehearsed, where rehearsed steps are faster.
    pub(super) rehearsed: StepSizes,
}

impl Loaded {
    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// The model's arithmetic.
    pub fn arithmetic(&self) -> Arithmetic {
        self.model.arithmetic()
    }

    /// Description of the device, for people.
    pub fn device(&self) -> String {
        self.model.describe()
    }

    /// Speed of the device's memory, measured now.
    ///
    /// # Errors
    /// When there is no memory to measure with.
    pub fn memory_bytes_per_s(&self) -> Result<f64, LoadError> {
        Ok(self.memory_meter()?()?)
    }

    /// Measures the speed of the device's memory whenever it is asked to, also when the engine runs.
    ///
    /// # Errors
    /// When there is no memory to measure with.
    pub fn memory_meter(&self) -> Result<SpeedMeter, LoadError> {
        Ok(self.model.speed_meter()?)
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
        // On a GPU the next step is planned before this one's tokens are known, which drafts would forbid.
        let drafts = self.in_main_memory && config.model.speculation == Speculation::Auto;
        let source_page_tokens = self.arithmetic().cross_kv.page_tokens();
        let pool = PoolSize { pages, source_page_tokens, pieces: self.model.page_pieces() };
        let steps = SchedulerLimits {
            pool,
            running_rows: limits.running_rows as usize,
            call_rows: limits.rows_of_a_call(),
            step_rows: limits.step_rows as usize,
            step_encoder_tokens: limits.step_encoder_tokens as usize,
            draft_rows: if drafts { limits.draft_rows as usize } else { 0 },
            encoder: encoder_cost(&model.encoder, self.in_main_memory),
        };
        Ok(EngineLimits {
            queued_rows: limits.queued_rows,
            wait: limits.wait,
            source_tokens: limits.source_tokens.min(model.encoder.max_positions),
            target_tokens: limits.target_tokens.min(model.decoder.max_positions),
            classes: 0,
            writes_alone: model.decoder.generation == Generation::Gemma3,
            exact_steps: limits.exact_search_steps,
            masks: MaskLimits {
                threads: limits.forms.mask_threads,
                wait: limits.forms.mask_wait,
                time: limits.forms.mask_time,
                queue: limits.forms.mask_queue,
            },
            steps,
        })
    }

    /// Bytes that the weights take at least.
    pub(super) fn least_weight_bytes(&self) -> u64 {
        self.config().least_weight_bytes(self.arithmetic())
    }

    /// Bytes of the working memory of the largest step.
    pub(super) fn workspace_bytes(&self, limits: &EngineLimits) -> usize {
        self.model.workspace_bytes(workspace(limits))
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

    /// Starts the engine as [`Self::start`] does, on an executor that wraps the model's own.
    ///
    /// # Errors
    /// When there is no memory or no thread for it.
    pub fn start_with(
        self,
        limits: EngineLimits,
        metrics: Arc<EngineMetrics>,
        wrap: impl FnOnce(Box<dyn Executor>) -> Box<dyn Executor>,
    ) -> Result<Engine, LoadError> {
        metrics.steps.page_bytes.set(i64::try_from(self.page_bytes()).unwrap_or(i64::MAX));
        let config = self.config();
        let tokens = BoundaryTokens {
            start: config.start_token,
            end: config.end_tokens.clone(),
            vocabulary: u32::try_from(config.decoder.vocab).unwrap_or(u32::MAX),
        };
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
        lane_rows: lane_rows(limits),
        target_rows: limits.steps.step_rows,
        logits_rows: limits.steps.step_rows,
    }
}
