//! The queue of spans, and the thread that sends them in batches.
//!
//! The queue is bounded and nobody waits for it: a span that finds no room is dropped. A batch that the collector does
//! not take is not sent again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use ureq::Agent;

use super::attribute::{integer, text};
use super::context::TraceContext;
use super::request_trace::RequestTrace;
use super::settings::TraceSettings;
use crate::telemetry::TraceMetrics;

/// Most spans of a batch, some hundred KiB.
const BATCH_SPANS: usize = 512;
/// Longest time that a span waits for others to share its batch.
const LINGER: Duration = Duration::from_millis(500);
/// Interval at which a flush looks whether it is done.
const FLUSH_POLL: Duration = Duration::from_millis(5);
/// Most bytes of an answer of the collector that are read.
const ANSWER_BYTES: u64 = 64 << 10;

/// Begins traces, or none. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Exporter>>);

/// Takes spans to be sent.
#[derive(Debug)]
pub(super) struct Exporter {
    spans: SyncSender<Span>,
    /// One in so many requests without a trace is traced.
    sample: u64,
    seen: AtomicU64,
    /// Spans in the queue and in the batch that is being sent.
    unsent: Arc<AtomicU64>,
    metrics: TraceMetrics,
}

impl Traces {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(settings: &TraceSettings, metrics: TraceMetrics) -> io::Result<Self> {
        let (spans, queued) = sync_channel(settings.queue_spans);
        let unsent = Arc::<AtomicU64>::default();
        let sender = Sender::new(settings, metrics.clone(), Arc::clone(&unsent));
        std::thread::Builder::new().name("traces".into()).spawn(move || sender.run(&queued))?;
        let (sample, seen) = (u64::from(settings.sample.max(1)), AtomicU64::new(0));
        Ok(Self(Some(Arc::new(Exporter { spans, sample, seen, unsent, metrics }))))
    }

    /// Begins the trace of a request with these headers. A client's own trace is gone on with if the client records it;
    /// of the other requests one in so many is traced.
    pub fn begin(&self, headers: &HeaderMap) -> Option<RequestTrace> {
        let exporter = self.0.as_ref()?;
        let parent = TraceContext::of(headers);
        let is_sampled = match &parent {
            Some(parent) => parent.is_sampled,
            None => exporter.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(exporter.sample),
        };
        if is_sampled { RequestTrace::begin(exporter, parent) } else { None }
    }

    /// Waits until all spans are sent or lost, or `patience` is over.
    pub fn flush(&self, patience: Duration) {
        let began = Instant::now();
        let is_done = |exporter: &Exporter| exporter.unsent.load(Ordering::Acquire) == 0;
        while !self.0.as_deref().is_none_or(is_done) && began.elapsed() < patience {
            std::thread::sleep(FLUSH_POLL);
        }
    }
}

impl Exporter {
    /// Queues spans; those without room are dropped.
    pub fn take(&self, spans: impl Iterator<Item = Span>) {
        for span in spans {
            self.unsent.fetch_add(1, Ordering::AcqRel);
            if self.spans.try_send(span).is_err() {
                self.unsent.fetch_sub(1, Ordering::AcqRel);
                self.metrics.dropped.inc();
            }
        }
    }
}

/// The thread's own.
struct Sender {
    agent: Agent,
    url: String,
    resource: Resource,
    metrics: TraceMetrics,
    unsent: Arc<AtomicU64>,
    /// Whether the last batch was not taken, which is logged once.
    is_failing: bool,
}

impl Sender {
    fn new(settings: &TraceSettings, metrics: TraceMetrics, unsent: Arc<AtomicU64>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("encdec/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(settings.timeout))
            // The library would read the environment.
            .proxy(None)
            .build()
            .new_agent();
        let attributes = vec![
            text("service.name", settings.service_name.as_str()),
            text("service.version", env!("CARGO_PKG_VERSION")),
            integer("process.pid", std::process::id()),
        ];
        let resource = Resource { attributes, ..Resource::default() };
        let url = format!("{}/v1/traces", settings.endpoint);
        Self { agent, url, resource, metrics, unsent, is_failing: false }
    }

    fn run(mut self, queued: &Receiver<Span>) {
        while let Ok(first) = queued.recv() {
            let (mut batch, began) = (vec![first], Instant::now());
            while batch.len() < BATCH_SPANS {
                match queued.recv_timeout(LINGER.saturating_sub(began.elapsed())) {
                    Ok(span) => batch.push(span),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            let spans = batch.len() as u64;
            self.note(spans, self.send(batch));
            self.unsent.fetch_sub(spans, Ordering::AcqRel);
        }
    }

    /// Sends a batch. Returns how many of its spans the collector rejected.
    fn send(&self, spans: Vec<Span>) -> Result<u64, String> {
        let scope = InstrumentationScope { name: "encdec".to_owned(), ..InstrumentationScope::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let request = self.agent.post(&self.url).header("content-type", "application/x-protobuf");
        let mut answer = request.send(&body[..]).map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("the collector answers {}", answer.status()));
        }
        // A collector that took everything need not say so in so many words.
        let told = answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec().unwrap_or_default();
        let told = ExportTraceServiceResponse::decode(&told[..]).unwrap_or_default();
        Ok(told.partial_success.map_or(0, |part| part.rejected_spans.unsigned_abs()))
    }

    fn note(&mut self, spans: u64, sent: Result<u64, String>) {
        let rejected = match &sent {
            Ok(rejected) => (*rejected).min(spans),
            Err(_) => spans,
        };
        self.metrics.failed.inc_by(rejected);
        self.metrics.sent.inc_by(spans - rejected);
        let was_failing = std::mem::replace(&mut self.is_failing, sent.is_err());
        match sent {
            Err(problem) if !was_failing => {
                tracing::warn!(url = self.url, problem, "traces cannot be sent: spans are lost until they can");
            }
            Ok(_) if was_failing => tracing::info!(url = self.url, "traces are sent again"),
            Ok(_) | Err(_) => {}
        }
    }
}
