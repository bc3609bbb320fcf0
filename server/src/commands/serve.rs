//! `server serve`: listen, load, say so, and run until asked to stop.
//!
//! Called by `main`. Puts the pieces together; each is explained where it lives.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::{CommandError, io};
use crate::api::{AccessLog, Entrance, Guard, GuardSettings, loading_router};
use crate::config::{Config, Limits, ServerConfig};
use crate::connection::ConnectionLimits;
use crate::loading::{Capacity, Loaded, load};
use crate::serve::{EndSignals, Server};
use crate::service::{Service, body_limits};
use crate::startup::{Example, StartMessage};
use crate::telemetry::Metrics;

/// Serves until SIGTERM or SIGINT; running answers are finished first. A second signal cuts them off.
///
/// # Errors
/// When the model cannot be loaded or the address not be had.
pub fn serve(config: &Config) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(io("start the threads that answer HTTP"))?;
    let served = runtime.block_on(run(config));
    // What still runs now, be it loading, a step or a client that does not read, ends with the process.
    runtime.shutdown_background();
    served
}

async fn run(config: &Config) -> Result<(), CommandError> {
    let mut signals = EndSignals::listen().map_err(io("wait for signals"))?;
    let listener = listen(config).await?;
    let address = listener.local_addr().map_err(io("read the listener's address"))?;
    let entrance = entrance(config, address);
    let server = Server::start(listener, connection_limits(&config.limits), loading_router(&entrance));
    tracing::debug!(%address, "alive, not ready: the model is being loaded");
    let settings = config.clone();
    let starting = tokio::task::spawn_blocking(move || start(&settings, address, entrance));
    let (service, message) = tokio::select! {
        started = starting => started.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()))?,
        signal = signals.next() => {
            tracing::info!(signal, "asked to end before the model was loaded");
            return Ok(());
        }
    };
    server.open(&service.api);
    std::io::stdout().write_all(message.as_bytes()).map_err(io("print the start message"))?;
    let signal = signals.next().await;
    tracing::info!(signal, "asked to end: running answers are finished first, unless it is asked again");
    let again = async {
        let signal = signals.next().await;
        tracing::info!(signal, "asked again");
    };
    server.drain(&service.api, config.server.drain_timeout, again).await;
    Ok(())
}

async fn listen(config: &Config) -> Result<TcpListener, CommandError> {
    let (host, port) = (config.server.host.clone(), config.server.port);
    TcpListener::bind((host.as_str(), port)).await.map_err(|source| CommandError::Listen { host, port, source })
}

fn entrance(config: &Config, address: SocketAddr) -> Entrance {
    let ServerConfig { host, allowed_hosts, allowed_origins, .. } = &config.server;
    let guard = Guard::new(GuardSettings { bound: address.ip(), name: host, allowed_hosts, allowed_origins });
    let access_log = match config.server.access_log {
        true => AccessLog::one_in(config.server.access_log_sample),
        false => AccessLog::off(),
    };
    Entrance {
        metrics: Metrics::of_model(&config.model.served_name),
        guard: Arc::new(guard),
        access_log,
        body: body_limits(&config.limits),
    }
}

const fn connection_limits(limits: &Limits) -> ConnectionLimits {
    let Limits { connections, header_timeout, keep_alive_timeout, .. } = *limits;
    ConnectionLimits { connections, header_timeout, keep_alive_timeout }
}

/// Everything that takes time: the model, its pages, its engine. And the words to say it with.
fn start(config: &Config, address: SocketAddr, entrance: Entrance) -> Result<(Service, String), CommandError> {
    let loaded = load(config)?;
    let capacity = loaded.capacity(config)?;
    let message = start_message(config, &loaded, &capacity, address);
    Ok((Service::start(config, loaded, capacity, entrance)?, message))
}

fn start_message(config: &Config, loaded: &Loaded, capacity: &Capacity, address: SocketAddr) -> String {
    let model = loaded.config();
    let (encoder, decoder) = (&model.encoder, &model.decoder);
    let width = if encoder.hidden == decoder.hidden {
        format!("width {}", encoder.hidden)
    } else {
        format!("widths {}+{}", encoder.hidden, decoder.hidden)
    };
    let message = StartMessage {
        address,
        model_name: &config.model.served_name,
        shape: &format!("{}+{} layers of {width}", encoder.layers, decoder.layers),
        arithmetic: loaded.arithmetic(),
        device: &loaded.device(),
        pages: capacity.door.pages,
        source_page_tokens: capacity.door.source_page_tokens,
        page_pool_bytes: config.limits.page_pool_bytes,
        example: if loaded.tokenizer.is_some() { Example::Text } else { Example::Ids },
    };
    message.to_string()
}
