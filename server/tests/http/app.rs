//! The router over an engine that does what a test says, and a client for it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use model::{EncoderCost, PagePieces, Tokenizer};
use serde_json::{Value, json};
use server::api::{
    AccessLog, AnswerBudget, Api, ApiLimits, BodyLimits, BodyPace, Budget, BudgetLimits, Entrance, Guard, KeyCheck,
    OpenRequests, QuotaBook, StructureBounds, router,
};
use server::batch_store::BatchStore;
use server::chat_template::ChatTemplate;
use server::client_connection::{ConnectionTimeouts, PlaceLimits, WritePace};
use server::constraint::{CompilerTools, FormCacheLimits, FormCompiler, TrialLimits, Trials};
use server::engine::{Command, EngineHandle, EngineLimits, MaskLimits, Submission};
use server::http_server::ConnectionLimits;
use server::job_pool::JobPool;
use server::overload::{Quota, WaitLimits};
use server::process::liveness::Liveness;
use server::registry::{LongestToken, ModelRegistry, ServedModel};
use server::request::{GenerationEvent, GenerationRequest, RequestDefaults};
use server::scheduler::{PoolSize, SchedulerLimits};
use server::source_sharing::SourceSharing;
use server::telemetry::{Metrics, Outcome, RequestMetrics};
use server::traces::{TraceSettings, Traces};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::answer::{Answer, Events};
use crate::scripted_engine::{Hand, answer, generate};

pub const MODEL: &str = "org/demo";
pub const ALIAS: &str = "gpt-3.5-turbo-instruct";
pub const END: u32 = 1;
pub const START: u32 = 2;
/// Width of the encoder's states.
pub const WIDTH: usize = 4;
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The demo's tokenizer, read once.
pub fn tokenizer() -> Arc<Tokenizer> {
    static TOKENIZER: OnceLock<Arc<Tokenizer>> = OnceLock::new();
    let load = || {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/demo/tokenizer.json");
        Arc::new(Tokenizer::from_bytes(&std::fs::read(file).unwrap()).unwrap())
    };
    Arc::clone(TOKENIZER.get_or_init(load))
}

pub fn ids(text: &str) -> Vec<u32> {
    tokenizer().encode(text).unwrap()
}

/// Settings in which the servers of the tests differ.
pub struct Setup {
    pub tokenizer: Option<Arc<Tokenizer>>,
    pub chat: ChatTemplate,
    pub queued_rows: u32,
    pub source_tokens: usize,
    pub target_tokens: usize,
    pub pages: usize,
    pub vocab: usize,
    /// Defaults that the checkpoint sets.
    pub defaults: RequestDefaults,
    pub labels: Vec<String>,
    /// The program that tries grammars.
    pub trial_program: PathBuf,
    pub body: BodyLimits,
    pub truncated_text_bytes: usize,
    pub unparsed_body_bytes: usize,
    pub answer_bytes: usize,
    pub queue_timeout: Duration,
    /// Tokens a minute of each client.
    pub quota: Quota,
    pub connections: ConnectionLimits,
    pub guard: Guard,
    /// Guard of the second address.
    pub probe_guard: Guard,
    pub keys: KeyCheck,
    pub access_log: AccessLog,
    pub page: bool,
    /// Where traces are sent.
    pub traces: Option<TraceSettings>,
    pub source_sharing: SourceSharing,
    pub stall_timeout: Duration,
    pub batches: Option<BatchStore>,
}

/// Any pace is fast enough.
const PACE: BodyPace = BodyPace { least_bytes_per_s: 0, stretch: PATIENCE };

/// Limits that no test meets that is not about them.
pub const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    places: PlaceLimits { connections: 64, reserved: 4, per_peer: 64 },
    timeouts: ConnectionTimeouts { header: PATIENCE, keep_alive: PATIENCE, write: taking_within(PATIENCE) },
};

/// A client has to take something in each such time.
pub const fn taking_within(stretch: Duration) -> WritePace {
    WritePace { stretch, least_bytes_per_s: 1 }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            tokenizer: Some(tokenizer()),
            chat: ChatTemplate::plain(10_000),
            queued_rows: 32,
            source_tokens: 256,
            target_tokens: 128,
            pages: 1000,
            vocab: 4096,
            defaults: RequestDefaults::default(),
            labels: Vec::new(),
            trial_program: env!("CARGO_BIN_EXE_server").into(),
            body: BodyLimits { bytes: 1 << 20, drain_bytes: 4 << 20, timeout: PATIENCE, pace: PACE },
            truncated_text_bytes: 100_000,
            unparsed_body_bytes: 8 << 20,
            answer_bytes: 64 << 20,
            queue_timeout: PATIENCE,
            quota: Quota { tokens_per_minute: 0 },
            guard: Guard::default(),
            probe_guard: Guard::default(),
            keys: KeyCheck::default(),
            access_log: AccessLog::off(),
            page: true,
            traces: None,
            source_sharing: SourceSharing::All,
            connections: CONNECTIONS,
            stall_timeout: PATIENCE,
            batches: None,
        }
    }
}

/// A router with its engine.
#[derive(Clone)]
pub struct App {
    pub router: Router,
    pub api: Arc<Api>,
}

impl App {
    /// Over an engine that answers each request with the events that `script` makes of it, all at once.
    pub fn scripted(
        setup: Setup,
        script: impl FnMut(&GenerationRequest) -> Vec<GenerationEvent> + Send + 'static,
    ) -> Self {
        let (app, commands) = Self::new(setup);
        std::thread::spawn(move || answer(&commands, script));
        app
    }

    /// Over an engine that generates `text` for every request.
    pub fn saying(text: &str) -> Self {
        let tokens = ids(text);
        Self::scripted(Setup::default(), move |request| generate(request, &tokens))
    }

    /// Over an engine that is the test itself.
    pub fn by_hand(setup: Setup) -> (Self, Hand) {
        let (app, commands) = Self::new(setup);
        (app, Hand { commands })
    }

    fn new(setup: Setup) -> (Self, Receiver<Command>) {
        let (commands, receiver) = channel();
        let limits = EngineLimits {
            queued_rows: setup.queued_rows,
            wait: WaitLimits::default(),
            source_tokens: setup.source_tokens,
            target_tokens: setup.target_tokens,
            classes: setup.labels.len(),
            writes_alone: false,
            exact_steps: 100,
            masks: MaskLimits::default(),
            // The test is the engine, so nothing but the pool matters here.
            steps: SchedulerLimits {
                pool: PoolSize { pages: setup.pages, source_page_tokens: 16, pieces: PagePieces::ONE },
                running_rows: 8,
                call_rows: 8,
                step_rows: 8,
                step_encoder_tokens: 64,
                draft_rows: 0,
                encoder: EncoderCost::undivided(1),
            },
        };
        let metrics = Metrics::of_models(&[MODEL]);
        let of_model = metrics.model(MODEL);
        let compiler = setup.tokenizer.clone().map(|tokenizer| {
            let tools = CompilerTools {
                tokenizer,
                target_vocab: setup.vocab,
                end_tokens: vec![END],
                growth: 8 << 20,
                trials: Trials::new(Some(setup.trial_program.clone()), TrialLimits { at_once: 1, seconds: 2 }),
                threads: JobPool::new(2),
            };
            FormCompiler::new(tools, FormCacheLimits { forms: 4, bytes: 8 << 20 })
        });
        let model = ServedModel {
            name: MODEL.to_owned(),
            aliases: vec![ALIAS.to_owned()],
            created: 1_700_000_000,
            engine: EngineHandle::new(commands, limits),
            longest_token: LongestToken::of(setup.tokenizer.as_deref()),
            compiler,
            tokenizer: setup.tokenizer,
            chat: setup.chat,
            tokenizing: JobPool::new(2),
            source_vocab: setup.vocab,
            target_vocab: setup.vocab,
            start_token: START,
            end_tokens: vec![END],
            defaults: setup.defaults,
            named_defaults: Vec::new(),
            infilling: None,
            encoder_width: WIDTH,
            labels: setup.labels,
            metrics: of_model,
        };
        let entrance = Entrance {
            traces: setup.traces.map_or_else(Traces::default, |settings| {
                Traces::start(&settings, metrics.server().traces.clone()).unwrap()
            }),
            metrics,
            guard: Arc::new(setup.guard),
            probe_guard: Arc::new(setup.probe_guard),
            keys: setup.keys,
            access_log: setup.access_log,
            body: setup.body,
            liveness: Liveness::default(),
            serves_page: setup.page,
        };
        let api = Arc::new(Api {
            models: ModelRegistry::new(vec![model]).unwrap(),
            entrance,
            batches: setup.batches.map(OnceLock::from).unwrap_or_default(),
            source_sharing: setup.source_sharing,
            limits: ApiLimits {
                choices: 16,
                prompts: 64,
                inputs: 16,
                top_log_probs: 20,
                total_choices: 32,
                total_log_probs: 8192,
                stop_strings: 4,
                stop_bytes: 64,
                truncated_text_bytes: setup.truncated_text_bytes,
                structure: StructureBounds { grammar_bytes: 2048, targets: 64, target_bytes: 1024 },
                messages: 8,
                body: setup.body,
                queue_timeout: setup.queue_timeout,
            },
            body_budget: Budget::new(BudgetLimits {
                bytes: setup.unparsed_body_bytes,
                peer_bytes: setup.unparsed_body_bytes,
            }),
            quotas: QuotaBook::new(setup.quota, []),
            answer_budget: AnswerBudget::new(BudgetLimits {
                bytes: setup.answer_bytes,
                peer_bytes: setup.answer_bytes,
            }),
            parsers: JobPool::new(2),
            open_requests: OpenRequests::default(),
            stall_timeout: setup.stall_timeout,
        });
        (Self { router: router(Arc::clone(&api)), api }, receiver)
    }

    pub async fn send(&self, request: Request<Body>) -> Response {
        tokio::time::timeout(PATIENCE, self.router.clone().oneshot(request)).await.expect("an answer").unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.send(Request::get(path).body(Body::empty()).unwrap()).await).await
    }

    /// A completion request, answered whole.
    pub async fn complete(&self, body: Value) -> Answer {
        Answer::of(self.open(&body).await).await
    }

    /// A request to any path, answered whole.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.send(Request::post(path).body(Body::from(body.to_string())).unwrap()).await).await
    }

    /// A completion request of a client that goes on by itself.
    pub fn spawn(&self, body: Value) -> JoinHandle<Answer> {
        let app = self.clone();
        tokio::spawn(async move { app.complete(body).await })
    }

    /// A completion request that must succeed; its answer's JSON.
    pub async fn completed(&self, body: Value) -> Value {
        let answer = self.complete(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }

    /// A completion request whose answer is not read yet.
    pub async fn open(&self, body: &Value) -> Response {
        self.send(completion_request(body)).await
    }

    /// A completion request with which the engine has begun: its answer, not read yet, and its prompts in the engine.
    pub async fn begun(&self, body: &Value, hand: &mut Hand) -> (Response, Vec<Submission>) {
        let prompts = body["prompt"].as_array().filter(|list| !list[0].is_number()).map_or(1, Vec::len);
        let opening = tokio::spawn({
            let (app, body) = (self.clone(), body.clone());
            async move { app.open(&body).await }
        });
        let mut submissions = Vec::new();
        for _ in 0..prompts {
            submissions.push(hand.submission().await);
        }
        submissions[0].events.send(GenerationEvent::Started { cached_tokens: 0 }).unwrap();
        (opening.await.unwrap(), submissions)
    }

    /// A streamed completion request, read to its end.
    pub async fn streamed(&self, mut body: Value) -> Events {
        body["stream"] = json!(true);
        let answer = self.complete(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.headers["content-type"], "text/event-stream; charset=utf-8");
        Events::of(&answer.text)
    }

    pub fn model(&self) -> &ServedModel {
        self.api.models.default_model()
    }

    pub fn engine(&self) -> &EngineHandle {
        &self.model().engine
    }

    pub fn metrics(&self) -> &RequestMetrics {
        &self.model().metrics.requests
    }

    pub fn count(&self, outcome: Outcome) -> u64 {
        self.metrics().requests(outcome)
    }

    /// All metrics as they are read by Prometheus.
    pub fn metrics_text(&self) -> String {
        self.api.entrance.metrics.text()
    }

    /// Waits until every place in the queue is free again.
    pub async fn all_slots_free(&self) {
        let all = self.engine().limits().queued_rows as usize;
        wait_for(|| (self.engine().free_slots() == all).then_some(())).await;
    }
}

pub fn completion_request(body: &Value) -> Request<Body> {
    let builder = Request::post("/v1/completions").header("content-type", "application/json");
    builder.body(Body::from(body.to_string())).unwrap()
}

/// Asks again and again, but not for ever.
pub async fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "it never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A body that arrives in `count` pieces of `piece`, without a declared length.
pub fn chunked(piece: &'static [u8], count: usize) -> Body {
    let pieces = std::iter::repeat_n(Bytes::from_static(piece), count).map(Ok::<_, std::io::Error>);
    Body::from_stream(futures_util::stream::iter(pieces))
}
