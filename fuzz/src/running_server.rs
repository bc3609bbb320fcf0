//! The demo in service inside this process, with limits that make every request short.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use server::api::{AccessLog, Entrance, Guard, router};
use server::client_connection::{ConnectionTimeouts, PlaceLimits, Routes, WritePace};
use server::config::{Config, Layer};
use server::engine::Engine;
use server::http_server::{ConnectionLimits, Deployment, HttpServer, ModelToServe, ServerShared, body_limits};
use server::loading::load;
use server::process::liveness::Liveness;
use server::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const SETTINGS: &str = "[model]\ndtype = \"f32\"\nthreads = 1\n[limits]\npage_pool_bytes = 8_388_608\n\
    source_tokens = 64\ntarget_tokens = 8\nchoices = 2\nprompts = 4\ntotal_choices = 8\nqueued_rows = 8\n\
    running_rows = 8\nrequest_rows = 6\n";
/// Longest time that a connection may keep the server waiting.
const PAUSE: Duration = Duration::from_millis(200);

/// A server with its runtime.
pub struct RunningServer {
    /// Runs its tasks.
    pub runtime: Runtime,
    /// Its routes, to be asked without a socket.
    pub router: Router,
    /// Where it listens.
    pub address: SocketAddr,
    _http: HttpServer,
    _engines: Vec<Engine>,
}

/// The server of this process, started when it is first asked for.
pub fn server() -> &'static RunningServer {
    static SERVER: OnceLock<RunningServer> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> RunningServer {
    let layer = Layer::parse("fuzz", SETTINGS).expect("the settings are TOML");
    let config = Config::from_layers(vec![layer]).expect("the settings are within their ranges");
    let loaded = load(&config).expect("the demo loads");
    let limits = loaded.limits(&config).expect("the demo has limits");
    let name = config.model.served_name.clone();
    let model = ModelToServe { name: name.clone(), loaded: loaded.into(), limits };
    let entrance = Entrance {
        metrics: Metrics::of_models(&[&name]),
        guard: Arc::new(Guard::default()),
        access_log: AccessLog::off(),
        body: body_limits(&config.limits),
        liveness: Liveness::default(),
        serves_page: true,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let _inside = runtime.enter();
    let Deployment { api, engines } = Deployment::start(&config, vec![model], entrance).expect("the demo starts");
    let router = router(api);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("there is a free port");
    let address = listener.local_addr().expect("it listens");
    let limits = ConnectionLimits {
        places: PlaceLimits { connections: 64, reserved: 4, per_peer: 64 },
        timeouts: ConnectionTimeouts {
            header: PAUSE,
            keep_alive: PAUSE,
            write: WritePace { stretch: PAUSE, least_bytes_per_s: 1 },
        },
    };
    let routes = Routes { all: router.clone(), probes: router.clone() };
    let http = HttpServer::start(listener, limits, routes, ServerShared::default());
    drop(_inside);
    RunningServer { runtime, router, address, _http: http, _engines: engines }
}
