//! A loaded model in service: its engine runs, and the HTTP layer knows what it serves.
//!
//! Started by the `serve` command and by tests. It opens no socket.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::api::{
    AnswerBudget, Api, ApiLimits, BodyLimits, BodyPace, Budget, BudgetLimits, Entrance, OpenRequests, ServedModel,
};
use crate::config::{Config, Limits};
use crate::engine::{Engine, EngineLimits};
use crate::job_pool::JobPool;
use crate::loading::{LoadError, Loaded};

/// Over so long the pace of a large body is measured: a line may falter for a moment.
const BODY_STRETCH: Duration = Duration::from_secs(5);

/// An engine and the API before it.
#[derive(Debug)]
pub struct Deployment {
    /// What the routes answer from.
    pub api: Arc<Api>,
    /// To be drained at the end.
    pub engine: Engine,
}

impl Deployment {
    /// Starts the engine, which counts where `entrance` does; requests are taken from now on.
    ///
    /// # Errors
    /// When there is no memory or no thread for it.
    pub fn start(config: &Config, loaded: Loaded, limits: EngineLimits, entrance: Entrance) -> Result<Self, LoadError> {
        let model = Arc::new(served_model(config, &loaded, &limits));
        let metrics = entrance.metrics.clone();
        let engine = loaded.start(limits, metrics.clone())?;
        let api = Api {
            model,
            engine: engine.handle.clone(),
            entrance,
            source_sharing: config.server.share_sources,
            limits: api_limits(&config.limits),
            metrics,
            body_budget: Budget::new(BudgetLimits {
                bytes: config.limits.unparsed_body_bytes,
                peer_bytes: config.limits.peer_body_bytes,
            }),
            answer_budget: AnswerBudget::new(BudgetLimits {
                bytes: config.limits.answer_bytes,
                peer_bytes: config.limits.peer_answer_bytes,
            }),
            parsers: JobPool::new(config.server.tokenizer_threads),
            pool: JobPool::new(config.server.tokenizer_threads),
            open_requests: OpenRequests::default(),
            stall_timeout: config.server.stall_timeout,
        };
        Ok(Self { api: Arc::new(api), engine })
    }
}

fn served_model(config: &Config, loaded: &Loaded, limits: &EngineLimits) -> ServedModel {
    let model = loaded.config();
    ServedModel {
        name: config.model.served_name.clone(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        tokenizer: loaded.tokenizer.clone(),
        source_vocab: model.encoder.vocab,
        target_vocab: model.decoder.vocab,
        start_token: model.start_token,
        max_source_tokens: limits.source_tokens,
        max_target_tokens: limits.target_tokens,
    }
}

fn api_limits(limits: &Limits) -> ApiLimits {
    ApiLimits {
        choices: limits.choices,
        prompts: limits.prompts as usize,
        top_log_probs: limits.top_logprobs,
        total_choices: limits.total_choices,
        total_log_probs: limits.total_logprobs,
        stop_strings: limits.stop_strings,
        stop_bytes: limits.stop_bytes,
        body: body_limits(limits),
        queue_timeout: limits.queue_timeout,
    }
}

/// What the settings say about bodies.
pub const fn body_limits(limits: &Limits) -> BodyLimits {
    BodyLimits {
        bytes: limits.body_bytes,
        drain_bytes: limits.drain_body_bytes,
        timeout: limits.body_timeout,
        pace: BodyPace { least_bytes_per_s: limits.body_bytes_per_s, stretch: BODY_STRETCH },
    }
}
