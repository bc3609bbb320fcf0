//! `server serve`: load, listen, say so, and run until asked to stop.
//!
//! Called by `main`. Puts the pieces together; each is explained where it lives.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;

use super::{CommandError, io};
use crate::api::{Api, ApiLimits, BodyLimits, OpenRequests, Readiness, ServedModel};
use crate::config::{Config, Limits};
use crate::loading::{Capacity, Loaded, load};
use crate::startup::{Example, StartMessage};
use crate::telemetry::Metrics;
use crate::tokenize::TokenizerPool;

/// A body that is slower than this is not worth its connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until SIGTERM or SIGINT; running answers are finished first.
///
/// # Errors
/// When the model cannot be loaded or the address not be had.
pub fn serve(config: &Config) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(io("start the threads that answer HTTP"))?;
    let listener = runtime.block_on(listen(config))?;
    let loaded = load(&config.model)?;
    let capacity = loaded.capacity(config)?;
    let model = Arc::new(served_model(config, &loaded, &capacity));
    let message = start_message(config, &loaded, &capacity, &listener).map_err(io("read the listener's address"))?;
    let metrics = Metrics::new();
    let engine = loaded.start(capacity, metrics.clone())?;
    let api = Api {
        model,
        engine: engine.handle.clone(),
        limits: api_limits(&config.limits),
        metrics,
        readiness: Readiness::default(),
        pool: TokenizerPool::new(config.server.tokenizer_threads),
        open_requests: OpenRequests::default(),
    };
    api.readiness.set_ready();
    runtime.block_on(async {
        let shutdown = crate::serve::termination().map_err(io("wait for signals"))?;
        std::io::stdout().write_all(message.as_bytes()).map_err(io("print the start message"))?;
        let drain = config.server.drain_timeout;
        crate::serve::serve(listener, Arc::new(api), drain, shutdown).await.map_err(io("serve HTTP"))
    })?;
    // Streams that outlived the drain are cut by ending the runtime; their requests are cancelled with them.
    runtime.shutdown_timeout(Duration::from_secs(1));
    engine.handle.drain();
    engine.join();
    Ok(())
}

async fn listen(config: &Config) -> Result<TcpListener, CommandError> {
    let (host, port) = (config.server.host.clone(), config.server.port);
    TcpListener::bind((host.as_str(), port)).await.map_err(|source| CommandError::Listen { host, port, source })
}

fn served_model(config: &Config, loaded: &Loaded, capacity: &Capacity) -> ServedModel {
    let model = loaded.model.config();
    ServedModel {
        name: config.model.served_name.clone(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        tokenizer: loaded.tokenizer.clone(),
        source_vocab: model.encoder.vocab,
        target_vocab: model.decoder.vocab,
        start_token: model.start_token,
        max_source_tokens: capacity.door.source_tokens,
        max_target_tokens: capacity.door.target_tokens,
    }
}

fn api_limits(limits: &Limits) -> ApiLimits {
    ApiLimits {
        choices: limits.choices,
        prompts: limits.prompts as usize,
        top_log_probs: limits.top_logprobs,
        stop_strings: limits.stop_strings,
        body: BodyLimits { bytes: limits.body_bytes, drain_bytes: limits.drain_body_bytes, timeout: BODY_TIMEOUT },
    }
}

fn start_message(
    config: &Config,
    loaded: &Loaded,
    capacity: &Capacity,
    listener: &TcpListener,
) -> std::io::Result<String> {
    let model = loaded.model.config();
    let (encoder, decoder) = (&model.encoder, &model.decoder);
    let width = if encoder.hidden == decoder.hidden {
        format!("width {}", encoder.hidden)
    } else {
        format!("widths {}+{}", encoder.hidden, decoder.hidden)
    };
    let message = StartMessage {
        address: listener.local_addr()?,
        model_name: &config.model.served_name,
        shape: &format!("{}+{} layers of {width}", encoder.layers, decoder.layers),
        precision: config.model.precision,
        device: config.model.device,
        instruction_set: loaded.level.name(),
        threads: config.model.threads,
        pages: capacity.door.pages,
        page_pool_bytes: config.limits.page_pool_bytes,
        example: if loaded.tokenizer.is_some() { Example::Text } else { Example::Ids },
    };
    Ok(message.to_string())
}
