//! The demo in service, as the `serve` command sets it up, and requests to it without a socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use serde_json::Value;
use server::api::{AccessLog, Api, Entrance, Guard, KeyCheck, router};
use server::client_connection::{ConnectionTimeouts, PlaceLimits, Routes, WritePace};
use server::config::{Config, Layer};
use server::engine::{Engine, EngineHandle};
use server::http_server::{ConnectionLimits, Deployment, HttpServer, ModelToServe, ServerShared, body_limits};
use server::loading::{LoadError, LoadedModel};
use server::process::liveness::Liveness;
use server::registry::ServedModel;
use server::telemetry::{EngineMetrics, Metrics, RequestMetrics};
use server::traces::Traces;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::answer::{Answer, PATIENCE};

/// Small enough to be made in no time, and each test says what it depends on.
/// How fast the machine of the tests is decides nothing.
const SETTINGS: &str =
    "[model]\ndtype = \"f32\"\nthreads = 1\n[limits]\npage_pool_bytes = 33_554_432\nqueue_wait_s = 600\n";

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_server");

/// A server without a socket. Clones are the same server.
#[derive(Clone)]
pub struct App {
    pub api: Arc<Api>,
    router: Router,
}

impl App {
    /// The demo under these settings, laid over the defaults.
    pub fn start(settings: &str) -> Self {
        Self::new(settings, None).0
    }

    /// With this program for trials of grammars.
    pub fn with_trial_program(settings: &str, program: &Path) -> Self {
        Self::of(deploy(vec![model_to_serve(settings)], program).0.unwrap()).0
    }

    /// With a pool of so many pages.
    pub fn with_pages(settings: &str, pages: usize) -> Self {
        Self::new(settings, Some(pages)).0
    }

    /// With the engine's thread, to be joined.
    pub fn with_engine(settings: &str) -> (Self, Engine) {
        Self::new(settings, None)
    }

    /// A server of several models, each under its own settings; what concerns all is as the first says. Also gives the
    /// models' engines.
    pub fn of_models(settings: &[&str]) -> (Self, Vec<Engine>) {
        Self::serving(settings.iter().map(|settings| model_to_serve(settings)).collect())
    }

    /// Why models under these settings are not served together, and the metrics that they would have had.
    pub fn of_models_refused(settings: &[&str]) -> (LoadError, Metrics) {
        let models = settings.iter().map(|settings| model_to_serve(settings)).collect();
        let (deployed, metrics) = deploy(models, PROGRAM.as_ref());
        (deployed.expect_err("the models are refused"), metrics)
    }

    fn new(settings: &str, pages: Option<usize>) -> (Self, Engine) {
        let (config, mut model) = model_to_serve(settings);
        if let Some(pages) = pages {
            model.limits.steps.pool.pages = pages;
        }
        let (app, mut engines) = Self::serving(vec![(config, model)]);
        (app, engines.pop().expect("one for the only model"))
    }

    fn serving(models: Vec<(Config, ModelToServe)>) -> (Self, Vec<Engine>) {
        Self::of(deploy(models, PROGRAM.as_ref()).0.unwrap())
    }

    fn of(deployment: Deployment) -> (Self, Vec<Engine>) {
        let Deployment { api, engines } = deployment;
        (Self { router: router(Arc::clone(&api)), api }, engines)
    }

    /// Sends a completion request; its answer is not read yet.
    pub async fn open(&self, body: &Value) -> Response {
        let request = Request::post("/v1/completions").body(Body::from(body.to_string())).unwrap();
        self.send(request).await
    }

    /// A completion request and its whole answer.
    pub async fn post(&self, body: &Value) -> Answer {
        Answer::read(self.open(body).await).await
    }

    /// A request to this path and its whole answer.
    pub async fn post_to(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).body(Body::from(body.to_string())).unwrap();
        Answer::read(self.send(request).await).await
    }

    /// Posts `body` from a task of its own.
    pub fn spawn(&self, body: &Value) -> JoinHandle<Answer> {
        let (app, body) = (self.clone(), body.clone());
        tokio::spawn(async move { app.post(&body).await })
    }

    pub async fn send(&self, request: Request<Body>) -> Response {
        tokio::time::timeout(PATIENCE, self.router.clone().oneshot(request)).await.expect("an answer").unwrap()
    }

    /// Serves on a free port of this machine until the test ends.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ConnectionLimits {
            places: PlaceLimits { connections: 64, reserved: 4, per_peer: 64 },
            timeouts: ConnectionTimeouts {
                header: PATIENCE,
                keep_alive: PATIENCE,
                write: WritePace { stretch: PATIENCE, least_bytes_per_s: 1 },
            },
        };
        let [all, probes, admin] = [(); 3].map(|()| self.router.clone());
        let routes = Routes { all, probes, admin };
        let server = HttpServer::start(listener, limits, routes, ServerShared::default());
        tokio::spawn(async move {
            let _server = server;
            std::future::pending::<()>().await;
        });
        address
    }

    pub fn model(&self) -> &ServedModel {
        self.api.models.default_model()
    }

    pub fn engine(&self) -> &EngineHandle {
        &self.model().engine
    }

    pub fn engine_metrics(&self) -> &EngineMetrics {
        &self.model().metrics.engine
    }

    pub fn request_metrics(&self) -> &RequestMetrics {
        &self.model().metrics.requests
    }

    /// Waits until nothing runs or waits, and checks that no page is held then.
    pub async fn idle(&self) {
        let metrics = self.engine_metrics();
        wait_until(|| metrics.running_rows.get() == 0 && metrics.waiting_rows.get() == 0).await;
        let (held, pages) = (metrics.pages_held.get(), self.engine().limits().steps.pool.pages);
        assert_eq!(held, 0, "pages are held by nobody");
        assert_eq!(metrics.pages_free.get() + metrics.pages_cached.get(), pages as i64);
    }
}

/// Starts the models, each under its own settings; what concerns all is as the first says.
fn deploy(models: Vec<(Config, ModelToServe)>, trial_program: &Path) -> (Result<Deployment, LoadError>, Metrics) {
    let (configs, models): (Vec<_>, Vec<_>) = models.into_iter().unzip();
    let (config, names) = (&configs[0], models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>());
    let metrics = Metrics::of_models(&names);
    let entrance = Entrance {
        metrics: metrics.clone(),
        guard: Arc::new(Guard::default()),
        probe_guard: Arc::default(),
        keys: KeyCheck::default(),
        access_log: AccessLog::off(),
        body: body_limits(&config.limits),
        liveness: Liveness::default(),
        traces: Traces::default(),
        serves_page: true,
    };
    (Deployment::start(config, models, entrance, Some(trial_program.into())), metrics)
}

/// A loaded model under these settings, laid over the defaults.
fn model_to_serve(settings: &str) -> (Config, ModelToServe) {
    let layers = [SETTINGS, settings].map(|text| Layer::parse("test", text).unwrap());
    let config = Config::from_layers(layers.into()).unwrap();
    let loaded = LoadedModel::load(&config).unwrap();
    let limits = loaded.limits(&config).unwrap();
    let (name, aliases) = (config.model.served_name.clone(), config.model.aliases.clone());
    let model = ModelToServe { name, aliases, loaded, limits };
    (config, model)
}

/// Joins engines that have to end.
pub fn join_all(engines: Vec<Engine>) {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        engines.into_iter().for_each(Engine::join);
        let _ = done.send(());
    });
    ended.recv_timeout(PATIENCE).expect("the engines end");
}

/// Asks again and again, but not for ever.
pub async fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
