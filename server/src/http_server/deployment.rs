//! Loaded models in service: their engines run, and the API answers with them.
//!
//! Started by the `serve` command and by tests. It opens no socket.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Tokenizer;

use crate::api::{
    AnswerBudget, Api, ApiLimits, BodyLimits, BodyPace, Budget, BudgetLimits, Entrance, OpenRequests, QuotaBook,
    StructureBounds,
};
use crate::config::{Config, FormLimits, Limits};
use crate::constraint::{CompilerTools, FormCacheLimits, FormCompiler, TrialLimits, Trials};
use crate::engine::{Engine, EngineLimits};
use crate::job_pool::JobPool;
use crate::loading::{LoadError, LoadedModel, ModelFacts, OfModel, all_of};
use crate::overload::Quota;
use crate::registry::{LongestToken, ModelRegistry, ServedModel};
use crate::telemetry::ModelMetrics;

/// Stretch of time over which the pace of a large body is measured: a line may falter for a moment.
const BODY_STRETCH: Duration = Duration::from_secs(5);

/// A loaded model that is to be served.
pub struct ModelToServe {
    /// Name for clients, unlike any name or alias of another model.
    pub name: String,
    /// Other names for clients.
    pub aliases: Vec<String>,
    /// Weights and tokenizer.
    pub loaded: LoadedModel,
    /// Limits of its engine.
    pub limits: EngineLimits,
}

impl ModelToServe {
    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.name].into_iter().chain(&self.aliases).map(String::as_str)
    }
}

/// Engines and the API before them.
#[derive(Debug)]
pub struct Deployment {
    /// State of the routes.
    pub api: Arc<Api>,
    /// The models' engines, in the order of the models; to be drained at the end.
    pub engines: Vec<Engine>,
}

impl Deployment {
    /// Starts an engine for each model, which counts where `entrance` does; requests are taken from now on. Requests
    /// that name no model are answered with the first one. Grammars are tried in processes of `trial_program`; without
    /// one they are trusted.
    ///
    /// # Errors
    /// When the models cannot be told apart, of which none is started then, or there is no memory or no thread for an
    /// engine.
    pub fn start(
        config: &Config,
        models: Vec<ModelToServe>,
        entrance: Entrance,
        trial_program: Option<PathBuf>,
    ) -> Result<Self, LoadError> {
        ModelRegistry::check_names(&models.iter().flat_map(ModelToServe::names).collect::<Vec<_>>())?;
        let shared = Shared::new(config, trial_program);
        let started = models.into_iter().map(|model| {
            let (name, metrics) = (model.name.clone(), entrance.metrics.model(&model.name));
            let result = start_model(model, metrics, &shared);
            OfModel { name, result }
        });
        let (models, engines): (Vec<_>, Vec<_>) = all_of(started)?.into_iter().unzip();
        let api = Api {
            models: ModelRegistry::new(models)?,
            entrance,
            batches: OnceLock::new(),
            source_sharing: config.server.share_sources,
            limits: api_limits(&config.limits),
            body_budget: Budget::new(BudgetLimits {
                bytes: config.limits.unparsed_body_bytes,
                peer_bytes: config.limits.peer_body_bytes,
            }),
            answer_budget: AnswerBudget::new(BudgetLimits {
                bytes: config.limits.answer_bytes,
                peer_bytes: config.limits.peer_answer_bytes,
            }),
            quotas: QuotaBook::new(
                Quota { tokens_per_minute: config.limits.client_tokens_per_minute },
                config.access.quotas.iter().cloned(),
            ),
            parsers: JobPool::new(config.server.tokenizer_threads),
            open_requests: OpenRequests::default(),
            stall_timeout: config.server.stall_timeout,
        };
        Ok(Self { api: Arc::new(api), engines })
    }

    /// Returns when the thread of any engine has ended, for whatever reason.
    pub async fn engine_ended(&mut self) {
        let ended = self.engines.iter_mut().map(|engine| Box::pin(engine.ended()));
        futures_util::future::select_all(ended).await;
    }
}

/// Everything that all models share.
struct Shared {
    tokenizing: JobPool,
    trials: Trials,
    form_cache: FormCacheLimits,
    form_growth: usize,
}

impl Shared {
    fn new(config: &Config, trial_program: Option<PathBuf>) -> Self {
        let FormLimits { grammar_trials, grammar_trial_s, cached_forms, cached_form_bytes, .. } = config.limits.forms;
        Self {
            tokenizing: JobPool::new(config.server.tokenizer_threads),
            trials: Trials::new(trial_program, TrialLimits { at_once: grammar_trials, seconds: grammar_trial_s }),
            form_cache: FormCacheLimits { forms: cached_forms, bytes: cached_form_bytes },
            form_growth: config.limits.forms.form_growth_bytes,
        }
    }

    /// A compiler of forms of answers, for a model that writes text.
    fn compiler(&self, tokenizer: Option<&Arc<Tokenizer>>, facts: &ModelFacts) -> Option<FormCompiler> {
        let tools = CompilerTools {
            tokenizer: Arc::clone(tokenizer?),
            target_vocab: facts.target_vocab,
            end_tokens: facts.end_tokens.clone(),
            growth: self.form_growth,
            trials: self.trials.clone(),
            threads: self.tokenizing.clone(),
        };
        (!facts.end_tokens.is_empty()).then(|| FormCompiler::new(tools, self.form_cache))
    }
}

fn start_model(
    model: ModelToServe,
    metrics: ModelMetrics,
    shared: &Shared,
) -> Result<(ServedModel, Engine), LoadError> {
    let ModelToServe { name, aliases, loaded, limits } = model;
    let (tokenizer, chat) = (loaded.tokenizer(), loaded.chat());
    let facts = loaded.facts();
    if !facts.named_defaults.is_empty() {
        let defaults = facts.named_defaults.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::info!(model = name, "generation_config.json sets defaults of requests: {defaults}");
    }
    let compiler = shared.compiler(tokenizer.as_ref(), &facts);
    let ModelFacts {
        source_vocab,
        target_vocab,
        start_token,
        end_tokens,
        defaults,
        named_defaults,
        infilling,
        encoder_width,
        labels,
        ..
    } = facts;
    let engine = loaded.start(limits, Arc::clone(&metrics.engine))?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let engine_handle = engine.handle.clone();
    let served = ServedModel {
        name,
        aliases,
        created,
        engine: engine_handle,
        longest_token: LongestToken::of(tokenizer.as_deref()),
        tokenizer,
        compiler,
        chat,
        tokenizing: shared.tokenizing.clone(),
        source_vocab,
        target_vocab,
        start_token,
        end_tokens,
        defaults,
        named_defaults,
        infilling,
        encoder_width,
        labels,
        metrics,
    };
    Ok((served, engine))
}

fn api_limits(limits: &Limits) -> ApiLimits {
    ApiLimits {
        choices: limits.choices,
        prompts: limits.prompts as usize,
        inputs: limits.inputs as usize,
        top_log_probs: limits.top_logprobs,
        total_choices: limits.total_choices,
        total_log_probs: limits.total_logprobs,
        stop_strings: limits.stop_strings,
        stop_bytes: limits.stop_bytes,
        truncated_text_bytes: limits.truncated_text_bytes,
        structure: StructureBounds {
            grammar_bytes: limits.forms.grammar_bytes,
            targets: limits.forms.allowed_targets,
            target_bytes: limits.forms.allowed_target_bytes,
        },
        messages: limits.messages,
        body: body_limits(limits),
        queue_timeout: limits.queue_timeout,
    }
}

/// Limits of bodies under these settings.
pub const fn body_limits(limits: &Limits) -> BodyLimits {
    BodyLimits {
        bytes: limits.body_bytes,
        drain_bytes: limits.drain_body_bytes,
        timeout: limits.body_timeout,
        pace: BodyPace { least_bytes_per_s: limits.body_bytes_per_s, stretch: BODY_STRETCH },
    }
}
