//! `server serve`: listen, load, say so, and run until asked to stop.
//!
//! Called by `main`. Puts the pieces together; each is explained where it lives.

mod batches;
mod models;
mod reloading;
mod start_message;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::error::{CommandError, io};
use super::runtime::start_runtime;
use crate::access::{Credentials, FileWatch};
use crate::api::{AccessLog, Entrance, Guard, GuardSettings, KeyCheck, loading_routes};
use crate::client_connection::{ConnectionTimeouts, PlaceLimits, WritePace};
use crate::config::{Config, Configs, Limits, ServerConfig};
use crate::http_server::{ConnectionLimits, Deployment, HttpServer, ServerShared, body_limits};
use crate::process::allocator::give_back_large_pieces;
use crate::process::liveness::Liveness;
use crate::process::resources::claim_descriptors;
use crate::process::service_manager::Notifier;
use crate::process::signals::{EndSignal, EndSignals};
use crate::telemetry::Metrics;
use crate::traces::{TraceSettings, Traces};
use batches::{open_store, start_batches};
use models::start;
use reloading::listen_for_signals;

/// Longest time for the last spans to be sent: a collector that takes none keeps no server from its end.
const LAST_SPANS: Duration = Duration::from_millis(800);

/// Serves until SIGTERM, SIGINT or SIGHUP; running answers are finished first. A second signal cuts them off. The
/// service manager hears of both ends through `notifier`. Grammars of requests are tried in processes of
/// `trial_program`, which is this program; without one they are trusted.
///
/// # Errors
/// When the models cannot be loaded or the address not be had.
pub fn serve(configs: &Configs, notifier: &Notifier, trial_program: Option<PathBuf>) -> Result<(), CommandError> {
    give_back_large_pieces();
    claim_descriptors(configs.first())?;
    let runtime = start_runtime(configs)?;
    let served = runtime.block_on(run(configs, notifier, trial_program));
    // What still runs now, be it loading, a step or a client that does not read, ends with the process.
    runtime.shutdown_background();
    served
}

async fn run(configs: &Configs, notifier: &Notifier, trial_program: Option<PathBuf>) -> Result<(), CommandError> {
    let config = configs.first();
    let files = &config.access.credentials;
    let watch = FileWatch::new(files.clone());
    let credentials = files.read()?;
    let mut signals = listen_for_signals(&config.access, &credentials, watch).map_err(io("wait for signals"))?;
    let listener = listen(&config.server.host, config.server.port).await?;
    let address = listener.local_addr().map_err(io("read the listener's address"))?;
    let probes = probe_listener(&config.server).await?;
    let probe_address = probes.as_ref().map(TcpListener::local_addr).transpose();
    let probe_address = probe_address.map_err(io("read the address for probes"))?;
    let entrance = entrance(configs, Addresses { requests: address, probes: probe_address }, &credentials);
    let shared = ServerShared {
        liveness: entrance.liveness.clone(),
        metrics: entrance.metrics.clone(),
        certificate: credentials.certificate,
    };
    let store = open_store(config, &entrance.metrics)?;
    let server = HttpServer::start(listener, connection_limits(&config.limits), loading_routes(&entrance), shared);
    if let Some(probes) = probes {
        server.probe(probes);
    }
    tracing::debug!(%address, "alive, not ready: the model is being loaded");
    let settings = configs.clone();
    let starting = tokio::task::spawn_blocking(move || start(&settings, address, entrance, trial_program));
    let (mut deployment, message) = tokio::select! {
        started = starting => started.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()))?,
        signal = signals.next() => {
            tracing::info!(%signal, "asked to end before the model was loaded");
            notifier.stopping();
            say_drained(Instant::now(), 0);
            return Ok(());
        }
    };
    let batches = store.map(|store| start_batches(configs, &deployment.api, store)).transpose()?;
    server.open(&deployment.api);
    message.log();
    notifier.ready(&format!("listens on {}://{address}", scheme(config)));
    let signal = tokio::select! {
        signal = signals.next() => signal,
        () = deployment.engine_ended() => return Err(CommandError::EngineEnded),
    };
    notifier.stopping();
    server.leave();
    if let Some(batches) = batches {
        batches.end().await;
    }
    end(config, server, &deployment, (signal, signals)).await;
    Ok(())
}

/// From the first signal to the last answer. A second signal cuts off whatever is still under way.
async fn end(
    config: &Config,
    server: HttpServer,
    deployment: &Deployment,
    (signal, mut signals): (EndSignal, EndSignals),
) {
    let began = Instant::now();
    let delay = if signal == EndSignal::Terminate { config.server.drain_delay } else { Duration::ZERO };
    let patience = config.server.drain_timeout;
    tracing::info!(%signal, ?delay, ?patience, "asked to end: running answers are finished first, unless asked again");
    server.leave();
    let mut again = pin!(async {
        let signal = signals.next().await;
        tracing::info!(%signal, "asked again: what is still being answered is cut off");
    });
    let patience = tokio::select! {
        biased;
        () = tokio::time::sleep(delay), if !delay.is_zero() => patience,
        () = &mut again, if !delay.is_zero() => Duration::ZERO,
        else => patience,
    };
    server
        .drain(&deployment.api, patience, async {
            // A signal that was seen cannot be waited for once more.
            if patience > Duration::ZERO { again.await } else { std::future::pending().await }
        })
        .await;
    let traces = deployment.api.entrance.traces.clone();
    // It waits for a collector, for a moment.
    let _ = tokio::task::spawn_blocking(move || traces.flush(LAST_SPANS)).await;
    say_drained(began, deployment.api.open_requests.count());
}

/// The last word. So many requests were `left` without the end of their answers.
fn say_drained(began: Instant, left: usize) {
    tracing::info!(took_ms = began.elapsed().as_millis() as u64, left, "drained");
}

/// Scheme of the server's addresses.
fn scheme(config: &Config) -> &'static str {
    if config.access.credentials.certificate.is_some() { "https" } else { "http" }
}

/// Addresses that a server listens on.
struct Addresses {
    requests: SocketAddr,
    /// The second one, if there is one.
    probes: Option<SocketAddr>,
}

async fn listen(host: &str, port: u16) -> Result<TcpListener, CommandError> {
    let refused = |source| CommandError::Listen { host: host.to_owned(), port, source };
    TcpListener::bind((host, port)).await.map_err(refused)
}

async fn probe_listener(server: &ServerConfig) -> Result<Option<TcpListener>, CommandError> {
    let address = server.probe_address.as_str();
    if address.is_empty() {
        return Ok(None);
    }
    let refused = |source| CommandError::ListenForProbes { address: address.to_owned(), source };
    TcpListener::bind(address).await.map(Some).map_err(refused)
}

/// The entrance of a server that listens on these addresses.
fn entrance(configs: &Configs, addresses: Addresses, credentials: &Credentials) -> Entrance {
    let config = configs.first();
    let models: Vec<_> = configs.iter().map(|config| config.model.served_name.as_str()).collect();
    let ServerConfig { host, probe_address, .. } = &config.server;
    let guard = Arc::new(guard_of(&config.server, addresses.requests, host));
    let probe_guard = addresses.probes.map(|bound| {
        let name = probe_address.rsplit_once(':').map_or(probe_address.as_str(), |(name, _)| name);
        Arc::new(guard_of(&config.server, bound, name))
    });
    let access_log = match config.server.access_log {
        true => AccessLog::one_in(config.server.access_log_sample),
        false => AccessLog::off(),
    };
    let metrics = Metrics::with_names(&models, config.telemetry.metric_names);
    Entrance {
        traces: traces(config.telemetry.traces.as_ref(), &metrics),
        metrics,
        probe_guard: probe_guard.unwrap_or_else(|| Arc::clone(&guard)),
        guard,
        keys: KeyCheck { keys: credentials.keys.clone(), metrics: config.access.metrics },
        access_log,
        body: body_limits(&config.limits),
        liveness: Liveness::default(),
        serves_page: config.server.page,
    }
}

/// Begins to send traces, if the settings say where. A server that cannot is one without traces.
fn traces(settings: Option<&TraceSettings>, metrics: &Metrics) -> Traces {
    let Some(settings) = settings else { return Traces::default() };
    Traces::start(settings, metrics.server().traces.clone()).unwrap_or_else(|error| {
        tracing::warn!(%error, "there is no thread to send traces: none are made");
        Traces::default()
    })
}

/// The guard of an address, which the settings call `name`.
fn guard_of(server: &ServerConfig, bound: SocketAddr, name: &str) -> Guard {
    let ServerConfig { allowed_hosts, allowed_origins, allowed_methods, allowed_headers, .. } = server;
    Guard::new(GuardSettings {
        bound: bound.ip(),
        name,
        allowed_hosts,
        allowed_origins,
        allowed_methods,
        allowed_headers,
    })
}

const fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        places: PlaceLimits {
            connections: limits.connections,
            reserved: limits.reserved_connections,
            per_peer: limits.connections_per_peer,
        },
        timeouts: ConnectionTimeouts {
            header: limits.header_timeout,
            keep_alive: limits.keep_alive_timeout,
            write: WritePace { stretch: limits.write_timeout, least_bytes_per_s: limits.write_bytes_per_s },
        },
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::*;
    use crate::config::{Environment, Layer};

    #[test]
    fn each_address_is_asked_by_names_of_its_own() {
        let layer = Layer::parse("test", "[server]\nprobe_address = \"probes.example:9090\"").unwrap();
        let configs = Configs::from_layers(vec![layer], &Environment::default()).unwrap();
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        let admitted = |probes: Option<SocketAddr>, host: &str| {
            let addresses = Addresses { requests: at("127.0.0.1:8080"), probes };
            let entrance = entrance(&configs, addresses, &Credentials::default());
            let request = Request::builder().header("host", host).body(Body::empty()).unwrap();
            [&entrance.guard, &entrance.probe_guard].map(|guard| guard.admit(&request).is_ok())
        };
        assert_eq!(admitted(Some(at("10.0.0.5:9090")), "10.0.0.5:9090"), [false, true]);
        assert_eq!(admitted(Some(at("127.0.0.1:9090")), "evil.example:9090"), [false, false]);
        assert_eq!(admitted(Some(at("127.0.0.1:9090")), "probes.example:9090"), [false, true]);
        assert_eq!(admitted(None, "10.0.0.5:9090"), [false, false]);
    }
}
