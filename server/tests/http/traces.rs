//! Traces of requests, as a collector receives them, and collectors that are of no use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Value, json};
use server::request::{FailureKind, FinishReason, GenerationEvent};
use server::traces::TraceSettings;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::answer::Answer;
use crate::app::{App, PATIENCE, Setup, completion_request, wait_for};
use crate::scripted_engine::token;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector on a port of its own, which hands on what it gets.
struct Collector {
    settings: TraceSettings,
    requests: UnboundedReceiver<ExportTraceServiceRequest>,
}

impl Collector {
    async fn start(status: StatusCode) -> Self {
        let (sender, requests) = unbounded_channel();
        let take = move |body: Bytes| {
            let sender = sender.clone();
            async move {
                sender.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
                status
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { settings: settings(endpoint), requests }
    }

    /// The spans of the next batch by name, and the name of the service.
    async fn spans(&mut self) -> (BTreeMap<String, Span>, String) {
        let request = timeout(PATIENCE, self.requests.recv()).await.expect("a batch").unwrap();
        let [resource] = &request.resource_spans[..] else { panic!("{request:?}") };
        let service = &resource.resource.as_ref().unwrap().attributes;
        let service = service.iter().find(|attribute| attribute.key == "service.name").unwrap();
        let spans = resource.scope_spans.iter().flat_map(|scope| scope.spans.clone());
        (
            spans.map(|span| (span.name.clone(), span)).collect(),
            json_of(service.value.as_ref().unwrap().value.as_ref()).to_string(),
        )
    }
}

fn settings(endpoint: String) -> TraceSettings {
    let timeout = Duration::from_millis(300);
    TraceSettings { endpoint, service_name: "tests".into(), sample: 1, queue_spans: 1000, timeout }
}

fn json_of(value: Option<&AttributeValue>) -> Value {
    match value {
        Some(AttributeValue::StringValue(text)) => json!(text),
        Some(AttributeValue::IntValue(number)) => json!(number),
        Some(AttributeValue::DoubleValue(number)) => json!(number),
        Some(AttributeValue::ArrayValue(list)) => {
            list.values.iter().map(|value| json_of(value.value.as_ref())).collect::<Vec<_>>().into()
        }
        other => panic!("{other:?}"),
    }
}

fn attribute(span: &Span, name: &str) -> Value {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    found.map_or(Value::Null, |attribute| json_of(attribute.value.as_ref().unwrap().value.as_ref()))
}

/// A server over an engine that encodes the source, says two words and ends.
fn app(traces: TraceSettings) -> App {
    App::scripted(Setup { traces: Some(traces), ..Setup::default() }, |_| {
        let started = GenerationEvent::Started { cached_tokens: 0 };
        let finished = GenerationEvent::Finished { choice: 0, reason: FinishReason::Length };
        vec![started, GenerationEvent::SourceReady, token(0, 70), token(0, 71), finished]
    })
}

/// Sends a request as part of a trace; its answer is whole.
async fn ask(app: &App, parent: Option<&str>, body: &Value) {
    let mut request = completion_request(body);
    if let Some(parent) = parent {
        request.headers_mut().insert("traceparent", parent.parse().unwrap());
        request.headers_mut().insert("tracestate", "vendor=value".parse().unwrap());
    }
    request.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
    let answer = Answer::of(app.send(request).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Numbers of spans that were sent, that failed, and that were dropped.
fn counts(app: &App) -> [u64; 3] {
    let traces = &app.api.entrance.metrics.server().traces;
    [&traces.sent, &traces.failed, &traces.dropped].map(|count| count.get())
}

/// Waits until the counts are these.
async fn counted(app: &App, expected: [u64; 3]) {
    wait_for(|| (counts(app) == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_span_of_its_client_s_trace_with_its_stages_below() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let app = app(collector.settings.clone());
    for stream in [false, true] {
        let body = json!({"prompt": "a secret", "max_tokens": 2, "temperature": 0.5, "seed": 7, "stream": stream});
        ask(&app, Some(PARENT), &body).await;
        let (spans, service) = collector.spans().await;
        assert_eq!(service, "\"tests\"");
        let names: Vec<_> = spans.keys().map(String::as_str).collect();
        let stages = ["decode", "detokenise", "encode", "first step", "queue", "text_completion org/demo", "tokenise"];
        assert_eq!(names, stages);
        let root = &spans["text_completion org/demo"];
        assert_eq!(root.trace_id, u128::to_be_bytes(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
        assert_eq!(
            (&root.parent_span_id[..], root.trace_state.as_str()),
            (&0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()[..], "vendor=value")
        );
        assert_eq!((root.kind, root.flags), (SpanKind::Server.into(), 0x301), "its parent is elsewhere");
        for (name, value) in [
            ("gen_ai.operation.name", json!("text_completion")),
            ("gen_ai.provider.name", json!("encdec")),
            ("gen_ai.request.model", json!("org/demo")),
            ("gen_ai.response.model", json!("org/demo")),
            ("gen_ai.request.max_tokens", json!(2)),
            ("gen_ai.request.temperature", json!(0.5)),
            ("gen_ai.request.seed", json!(7)),
            ("gen_ai.usage.output_tokens", json!(2)),
            ("gen_ai.response.finish_reasons", json!(["length"])),
            ("http.request.method", json!("POST")),
            ("http.route", json!("/v1/completions")),
            ("http.response.status_code", json!(200)),
            ("http.response.header.x-request-id", json!(["mine-1"])),
            ("encdec.outcome", json!("completed")),
        ] {
            assert_eq!(attribute(root, name), value, "{name}");
        }
        assert!(attribute(root, "gen_ai.usage.input_tokens").as_i64().unwrap() > 0);
        assert!(attribute(root, "gen_ai.response.time_to_first_chunk").as_f64().unwrap() > 0.0);
        for name in stages.into_iter().filter(|name| *name != root.name) {
            let span = &spans[name];
            assert_eq!((&span.parent_span_id, &span.trace_id), (&root.span_id, &root.trace_id), "{name}");
            assert!(span.start_time_unix_nano >= root.start_time_unix_nano, "{name}");
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{name}");
            assert!(span.end_time_unix_nano <= root.end_time_unix_nano, "{name}");
        }
        let ends = ["tokenise", "queue", "encode", "first step", "decode"].map(|name| spans[name].end_time_unix_nano);
        assert!(ends.is_sorted(), "{ends:?}");
        assert!(!format!("{spans:?}").contains("secret"), "no word of a prompt is told");
    }
    counted(&app, [14, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_decides_on_its_own_trace_and_a_sample_on_the_others() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let app = app(TraceSettings { sample: 3, ..collector.settings.clone() });
    let body = json!({"prompt": "a", "max_tokens": 2});
    let unsampled = PARENT.replace("-01", "-00");
    ask(&app, Some(&unsampled), &body).await;
    for parent in [None, None, None, Some("no context")] {
        ask(&app, parent, &body).await;
    }
    let mut roots = Vec::new();
    while roots.len() < 2 {
        let request = timeout(PATIENCE, collector.requests.recv()).await.expect("a batch").unwrap();
        let spans =
            request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans).flat_map(|scope| scope.spans);
        roots.extend(spans.filter(|span| span.kind == SpanKind::Server as i32));
    }
    counted(&app, [14, 0, 0]).await;
    assert!(roots.iter().all(|root| root.parent_span_id.is_empty() && root.trace_state.is_empty()), "{roots:?}");
    assert_ne!(roots[0].trace_id, roots[1].trace_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_says_so_in_its_span() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let setup = Setup { traces: Some(collector.settings.clone()), ..Setup::default() };
    let fault = || GenerationEvent::Failed { message: "no memory".into(), kind: FailureKind::Lasting };
    let app = App::scripted(setup, move |_| vec![fault()]);
    let request = completion_request(&json!({"prompt": "a", "max_tokens": 2}));
    assert_eq!(Answer::of(app.send(request).await).await.status, 500);
    let (spans, _) = collector.spans().await;
    let root = &spans["text_completion org/demo"];
    assert_eq!(root.status.as_ref().unwrap().code, 2);
    assert_eq!(attribute(root, "http.response.status_code"), 500);
    assert_eq!(attribute(root, "encdec.outcome"), "failed");
    assert!(attribute(root, "error.type").is_string());
    assert!(spans.contains_key("engine"), "the stage in which it failed: {spans:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_or_is_down_costs_spans_and_no_request() {
    let body = json!({"prompt": "a", "max_tokens": 2});
    let refusing = Collector::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for settings in [refusing.settings.clone(), settings(format!("http://{closed}"))] {
        let app = app(settings);
        for _ in 0..3 {
            ask(&app, None, &body).await;
        }
        counted(&app, [0, 21, 0]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_nobody_up_and_the_queue_stays_bounded() {
    // Connections are accepted by the system, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let app = Arc::new(app(TraceSettings { queue_spans: 4, timeout: PATIENCE, ..settings(endpoint) }));
    let body = json!({"prompt": "a", "max_tokens": 2});
    let answered = async {
        for _ in 0..100 {
            ask(&app, None, &body).await;
        }
    };
    timeout(PATIENCE / 2, answered).await.expect("requests do not wait for the collector");
    let [sent, failed, dropped] = counts(&app);
    assert_eq!((sent, failed), (0, 0));
    assert!(dropped >= 700 - 512 - 5, "a batch and the queue are kept: {dropped}");
    let began = std::time::Instant::now();
    app.api.entrance.traces.flush(Duration::from_millis(50));
    assert!(began.elapsed() < Duration::from_secs(2), "an end does not wait for it either");
}
