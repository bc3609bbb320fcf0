//! One line in the access log for each request once its answer has been taken, without a word of prompts or answers.
//!
//! Stands before the guard and all routes. Handlers leave what only they know in the request's [`Visit`].

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use kernels::Sampling;

use super::access_log::AccessLog;
use super::entrance::Entrance;
use super::error_face::outcome_of;
use super::error_response::ErrorCode;
use super::request_account::RequestAccount;
use super::request_name::{RequestName, TRACE_ID};
use super::trace_facts::TraceFacts;
use crate::access::KeyName;
use crate::client_connection::{Peer, held};
use crate::telemetry::{KeyUse, Metrics, Outcome};
use crate::traces::{RequestTrace, Stages};

/// The target by which a log's lines are told apart and filtered.
const TARGET: &str = "server::access";

/// Paths that monitors ask every few seconds. Their successful requests have lines of the level `debug`.
pub const PROBES: [&str; 4] = ["/health", "/ready", "/ping", "/metrics"];

/// Takes the result of a request for a model; in the request's extensions. The line is written when the last clone is
/// dropped.
#[derive(Debug, Clone, Default)]
pub struct Visit(Option<Arc<Entry>>);

impl Visit {
    /// Notes the request's result. The first one counts.
    pub fn leave(&self, completed: Completed) {
        if let Some(entry) = &self.0 {
            let _ = entry.completed.set(completed);
        }
    }

    /// Method and route of the request.
    pub fn route(&self) -> Option<&str> {
        self.0.as_ref().map(|entry| entry.route.as_str())
    }

    /// Whether the request leaves a trace.
    pub fn is_traced(&self) -> bool {
        self.0.as_ref().is_some_and(|entry| entry.trace.is_some())
    }

    /// Notes whose request it is.
    pub fn identify(&self, key: KeyName) {
        if let Some(entry) = &self.0 {
            let _ = entry.key.set(key);
        }
    }
}

/// Output that a request wants of the engine.
#[derive(Debug, Clone, Copy)]
pub struct AskedOutput {
    /// Choices of each prompt.
    pub choices: u32,
    /// Most tokens of each choice.
    pub tokens: u32,
    /// How they are drawn; its seed has no meaning.
    pub sampling: Sampling,
    /// Seed, if the client gave one.
    pub seed: Option<u64>,
}

/// Result of a request for a model.
#[derive(Debug, Clone, Default)]
pub struct Completed {
    /// How it ended.
    pub outcome: Outcome,
    /// The error's code, if it ended with one.
    pub error: Option<&'static str>,
    /// Number of source tokens of all its prompts.
    pub source_tokens: u64,
    /// Number of them that were encoded already.
    pub cached_tokens: u64,
    /// Number of generated tokens of all its choices.
    pub generated_tokens: u64,
    /// Time from its submission to the engine until the first of its prompts ran.
    pub queued: Option<Duration>,
    /// Time from its arrival to its first token.
    pub first_token: Option<Duration>,
    /// Choices that ended with an end token or a stop string.
    pub stopped_choices: u64,
    /// Choices that ended because they were as long as allowed.
    pub full_choices: u64,
    /// Output that it wanted, if it wanted any.
    pub asked: Option<AskedOutput>,
    /// Times of its stages.
    pub stages: Stages,
}

/// Notes a request and its answer.
pub async fn note(State(entrance): State<Entrance>, mut request: Request, next: Next) -> Response {
    let entry = Arc::new(Entry::new(&entrance, &request));
    if let Some(trace) = &entry.trace {
        tracing::Span::current().record(TRACE_ID, trace.id());
    }
    request.extensions_mut().insert(entry.account.clone());
    request.extensions_mut().insert(Visit(Some(Arc::clone(&entry))));
    let response = next.run(request).await;
    let error = response.extensions().get::<ErrorCode>().map(|code| code.0);
    let _ = entry.answered.set((response.status(), error));
    response.map(|body| held(body, entry))
}

/// One request. It is over when this is dropped: with the answer's last bytes, or before if the client went away.
#[derive(Debug)]
struct Entry {
    log: AccessLog,
    account: RequestAccount,
    completed: OnceLock<Completed>,
    id: Option<RequestName>,
    peer: Option<Peer>,
    key: OnceLock<KeyName>,
    metrics: Metrics,
    route: String,
    is_probe: bool,
    began: Instant,
    /// Its trace, if it leaves one.
    trace: Option<RequestTrace>,
    /// Status and error code of the answer.
    answered: OnceLock<(StatusCode, Option<&'static str>)>,
}

impl Entry {
    fn new(entrance: &Entrance, request: &Request) -> Self {
        let extensions = request.extensions();
        let is_probe = extensions.get().is_some_and(is_probe);
        // Monitors and pages read; requests for models are posted.
        let may_trace = !is_probe && request.method() == Method::POST;
        Self {
            log: entrance.access_log.clone(),
            account: RequestAccount::new(entrance.metrics.without_model()),
            completed: OnceLock::new(),
            id: extensions.get().cloned(),
            peer: extensions.get().copied(),
            // Requests of batches come with the name of theirs.
            key: extensions.get::<KeyName>().cloned().map(OnceLock::from).unwrap_or_default(),
            metrics: entrance.metrics.clone(),
            route: route(request.method(), extensions.get()),
            is_probe,
            began: Instant::now(),
            trace: if may_trace { entrance.traces.begin(request.headers()) } else { None },
            answered: OnceLock::new(),
        }
    }

    fn write(&self, outcome: Outcome, error: Option<&str>) {
        let completed = self.completed.get();
        let admitted = completed.filter(|completed| completed.source_tokens > 0);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    parent: None,
                    id = self.id.as_ref().map(RequestName::as_str),
                    trace_id = self.trace.as_ref().map(RequestTrace::id),
                    peer = self.peer.map(|peer| tracing::field::display(peer.0)),
                    key = self.key.get().map(KeyName::as_str),
                    route = self.route,
                    status = self.answered.get().map(|(status, _)| status.as_u16()),
                    outcome = %outcome.label(),
                    code = error.map(tracing::field::display),
                    source_tokens = admitted.map(|completed| completed.source_tokens),
                    generated_tokens = admitted.map(|completed| completed.generated_tokens),
                    queue_ms = completed.and_then(|completed| completed.queued).map(milliseconds),
                    first_token_ms = completed.and_then(|completed| completed.first_token).map(milliseconds),
                    total_ms = milliseconds(self.began.elapsed()),
                    finish = completed.and_then(finish_reasons).map(tracing::field::display),
                )
            };
        }
        if self.is_probe && outcome == Outcome::Completed {
            line!(debug);
        } else {
            line!(info);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (completed, answered) = (self.completed.get(), self.answered.get());
        let code = answered.and_then(|(_, code)| *code);
        let error = completed.and_then(|completed| completed.error).or(code);
        let outcome = match (completed, answered) {
            (Some(completed), _) => completed.outcome,
            (None, Some((status, _))) => outcome_of(*status),
            (None, None) => Outcome::Cancelled,
        };
        if let Some(code) = error {
            self.account.metrics().count_refusal(code);
        }
        if let Some(key) = self.key.get() {
            let tokens = completed.map(|completed| (completed.source_tokens, completed.generated_tokens));
            let (source_tokens, generated_tokens) = tokens.unwrap_or_default();
            self.metrics.keys().count(key.as_str(), KeyUse { outcome, source_tokens, generated_tokens });
        }
        if self.log.wants(outcome) {
            self.write(outcome, error);
        }
        if let Some(trace) = &self.trace {
            let metrics = self.account.metrics();
            let facts = TraceFacts {
                id: self.id.as_ref().map(RequestName::as_str),
                route: &self.route,
                status: answered.map(|(status, _)| status.as_u16()),
                outcome,
                error,
                model: metrics.model(),
                completed,
            };
            trace.finish(facts.span(), &completed.map(|completed| completed.stages.clone()).unwrap_or_default());
        }
    }
}

/// Method and route. What clients make up stays out of the log.
fn route(method: &Method, path: Option<&MatchedPath>) -> String {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS, Method::PUT, Method::DELETE, Method::PATCH];
    let method = if known.contains(method) { method.as_str() } else { "other" };
    format!("{method} {}", path.map_or("unknown", MatchedPath::as_str))
}

fn is_probe(path: &MatchedPath) -> bool {
    PROBES.contains(&path.as_str().trim_end_matches('/'))
}

fn finish_reasons(completed: &Completed) -> Option<String> {
    let counted = [("stop", completed.stopped_choices), ("length", completed.full_choices)];
    let words: Vec<_> =
        counted.iter().filter(|(_, count)| *count > 0).map(|(reason, count)| format!("{reason}:{count}")).collect();
    (!words.is_empty()).then(|| words.join(","))
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}
