//! The router over an engine that does what a test says, and a client for it.

use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use kernels::Candidate;
use model::Tokenizer;
use serde_json::{Value, json};
use server::api::{
    AccessLog, AnswerBudget, Api, ApiLimits, BodyLimits, BodyPace, Budget, BudgetLimits, Entrance, Guard, OpenRequests,
    router,
};
use server::client_connection::{ConnectionTimeouts, PlaceLimits, WritePace};
use server::engine::{Command, EngineHandle, EngineLimits, Submission, TokenScore};
use server::http_server::ConnectionLimits;
use server::job_pool::JobPool;
use server::process::liveness::Liveness;
use server::registry::{ModelRegistry, ServedModel};
use server::request::{FinishReason, GenerationEvent, GenerationRequest};
use server::scheduler::{PoolSize, SchedulerLimits};
use server::source_sharing::SourceSharing;
use server::telemetry::{Metrics, Outcome, RequestMetrics};
use tokio::task::JoinHandle;
use tower::ServiceExt;

pub const MODEL: &str = "org/demo";
pub const END: u32 = 1;
pub const START: u32 = 2;
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
    tokenizer().encode(text, false).unwrap()
}

/// Settings in which the servers of the tests differ.
pub struct Setup {
    pub tokenizer: Option<Arc<Tokenizer>>,
    pub queued_rows: u32,
    pub source_tokens: usize,
    pub pages: usize,
    pub vocab: usize,
    pub body: BodyLimits,
    pub unparsed_body_bytes: usize,
    pub answer_bytes: usize,
    pub queue_timeout: Duration,
    pub connections: ConnectionLimits,
    pub guard: Guard,
    pub access_log: AccessLog,
    pub source_sharing: SourceSharing,
    pub stall_timeout: Duration,
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
            queued_rows: 32,
            source_tokens: 256,
            pages: 1000,
            vocab: 4096,
            body: BodyLimits { bytes: 1 << 20, drain_bytes: 4 << 20, timeout: PATIENCE, pace: PACE },
            unparsed_body_bytes: 8 << 20,
            answer_bytes: 64 << 20,
            queue_timeout: PATIENCE,
            guard: Guard::default(),
            access_log: AccessLog::off(),
            source_sharing: SourceSharing::All,
            connections: CONNECTIONS,
            stall_timeout: PATIENCE,
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
            source_tokens: setup.source_tokens,
            target_tokens: 128,
            // The test is the engine, so nothing but the pool matters here.
            steps: SchedulerLimits {
                pool: PoolSize { pages: setup.pages, source_page_tokens: 16 },
                running_rows: 8,
                call_rows: 8,
                step_rows: 8,
                step_encoder_tokens: 64,
                encoder_layers: 1,
            },
        };
        let metrics = Metrics::of_models(&[MODEL]);
        let of_model = metrics.model(MODEL);
        let model = ServedModel {
            name: MODEL.to_owned(),
            created: 1_700_000_000,
            engine: EngineHandle::new(commands, limits),
            tokenizer: setup.tokenizer,
            tokenizing: JobPool::new(2),
            source_vocab: setup.vocab,
            target_vocab: setup.vocab,
            start_token: START,
            metrics: of_model,
        };
        let (guard, body) = (Arc::new(setup.guard), setup.body);
        let entrance = Entrance { metrics, guard, access_log: setup.access_log, body, liveness: Liveness::default() };
        let api = Arc::new(Api {
            models: ModelRegistry::new(vec![model]).unwrap(),
            entrance,
            source_sharing: setup.source_sharing,
            limits: ApiLimits {
                choices: 16,
                prompts: 64,
                top_log_probs: 20,
                total_choices: 32,
                total_log_probs: 8192,
                stop_strings: 4,
                stop_bytes: 64,
                body: setup.body,
                queue_timeout: setup.queue_timeout,
            },
            body_budget: Budget::new(BudgetLimits {
                bytes: setup.unparsed_body_bytes,
                peer_bytes: setup.unparsed_body_bytes,
            }),
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

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the end").unwrap().to_bytes();
        Self { status: head.status, headers: head.headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Checks the error object and gives its message.
    pub fn error(&self, status: u16, param: Option<&str>, code: Option<&str>) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let json = self.json();
        let error = json["error"].as_object().expect("an error object");
        assert_eq!(error.keys().collect::<Vec<_>>(), ["message", "type", "param", "code"]);
        assert_eq!(error["param"], json!(param), "{}", self.text);
        assert_eq!(error["code"], json!(code), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/json");
        error["message"].as_str().unwrap().to_owned()
    }
}

/// The events of a stream.
#[derive(Debug)]
pub struct Events {
    pub chunks: Vec<Value>,
    /// Whether the last event was `[DONE]`.
    pub done: bool,
}

impl Events {
    pub fn of(text: &str) -> Self {
        let mut events = Self { chunks: Vec::new(), done: false };
        for event in text.split_terminator("\n\n") {
            assert!(!events.done, "something after [DONE]: {event}");
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("not an event: {event}"));
            if data == "[DONE]" {
                events.done = true;
            } else {
                events.chunks.push(serde_json::from_str(data).unwrap());
            }
        }
        events
    }

    /// The chunks of choice `index`.
    pub fn of_choice(&self, index: u64) -> Vec<&Value> {
        let choices = self.chunks.iter().filter_map(|chunk| chunk["choices"].get(0));
        choices.filter(|choice| choice["index"] == json!(index)).collect()
    }

    pub fn text_of(&self, index: u64) -> String {
        self.of_choice(index).iter().map(|choice| choice["text"].as_str().unwrap()).collect()
    }
}

/// The engine's side of the door, in the hands of a test.
pub struct Hand {
    commands: Receiver<Command>,
}

impl Hand {
    pub async fn command(&mut self) -> Command {
        wait_for(|| match self.commands.try_recv() {
            Ok(command) => Some(command),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the server has gone"),
        })
        .await
    }

    pub async fn submission(&mut self) -> Submission {
        match self.command().await {
            Command::Submit(submission) => submission,
            other => panic!("not a submission: {other:?}"),
        }
    }

    /// Waits until a request is cancelled, or one of its choices; other commands are passed over.
    pub async fn cancelled(&mut self) -> Option<u32> {
        loop {
            if let Command::Cancel { choice, .. } = self.command().await {
                return choice;
            }
        }
    }

    /// Whether nothing has come.
    pub fn is_idle(&self) -> bool {
        self.commands.try_recv().is_err()
    }
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

fn answer(commands: &Receiver<Command>, mut script: impl FnMut(&GenerationRequest) -> Vec<GenerationEvent>) {
    while let Ok(command) = commands.recv() {
        if let Command::Submit(Submission { request, events, slot, .. }) = command {
            drop(slot);
            for event in script(&request) {
                // The client may be gone.
                let _ = events.send(event);
            }
        }
    }
}

/// Events of an engine that generates `tokens` and then the end token for every choice, as far as `max_tokens` allows.
pub fn generate(request: &GenerationRequest, tokens: &[u32]) -> Vec<GenerationEvent> {
    let mut events = vec![GenerationEvent::Started { cached_tokens: 0 }];
    let whole: Vec<u32> = tokens.iter().copied().chain([END]).collect();
    let limit = request.max_tokens as usize;
    for choice in 0..request.choices {
        if request.score_prompt {
            let scores = request.decoder_prompt.iter().map(|&id| score(id, request.log_probs.unwrap()));
            events.extend(scores.map(|score| GenerationEvent::Scored { choice, score }));
        }
        events.extend(whole.iter().take(limit).map(|&id| GenerationEvent::Token {
            choice,
            id,
            score: request.log_probs.map(|count| score(id, count)),
        }));
        let reason = if whole.len() <= limit { FinishReason::Stop } else { FinishReason::Length };
        events.push(GenerationEvent::Finished { choice, reason });
    }
    events
}

/// A score where the next ids are the alternatives, each less probable by 1.
pub fn score(id: u32, alternatives: u32) -> TokenScore {
    let candidate = |rank: u32| Candidate { id: id + rank, log_prob: -0.5 - rank as f32, rank };
    TokenScore { chosen: candidate(0), top: (0..alternatives).map(candidate).collect() }
}

pub fn token(choice: u32, id: u32) -> GenerationEvent {
    GenerationEvent::Token { choice, id, score: None }
}

/// A body that arrives in `count` pieces of `piece`, without a declared length.
pub fn chunked(piece: &'static [u8], count: usize) -> Body {
    let pieces = std::iter::repeat_n(Bytes::from_static(piece), count).map(Ok::<_, std::io::Error>);
    Body::from_stream(futures_util::stream::iter(pieces))
}
