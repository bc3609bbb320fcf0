//! The trace of one request: a span of all of it, with a span for each of its stages below.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::attribute::{Attribute, integer, number};
use super::context::TraceContext;
use super::exporter::Exporter;
use super::stages::{Period, PromptTimes, Stages};

/// Flags of a span, beside the trace's own: whether its parent is in another process is known, and is so.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;
const SAMPLED: u32 = 1;

/// The trace of a request that has begun.
#[derive(Debug)]
pub struct RequestTrace {
    exporter: Arc<Exporter>,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    /// The client's span, if there is one.
    parent: Option<TraceContext>,
    began: Instant,
    began_at: SystemTime,
}

/// The span of a whole request.
#[derive(Debug)]
pub struct RequestSpan {
    /// Name of the span.
    pub name: String,
    /// Facts of the request.
    pub attributes: Vec<Attribute>,
    /// Whether the server was at fault.
    pub has_failed: bool,
}

impl RequestTrace {
    /// A trace that begins now, in the client's one if it has one.
    pub(super) fn begin(exporter: &Arc<Exporter>, parent: Option<TraceContext>) -> Option<Self> {
        Some(Self {
            exporter: Arc::clone(exporter),
            trace_id: match &parent {
                Some(parent) => parent.trace_id,
                None => random()?,
            },
            span_id: random()?,
            parent,
            began: Instant::now(),
            began_at: SystemTime::now(),
        })
    }

    /// Id of the trace, in hexadecimal digits.
    pub fn id(&self) -> String {
        self.trace_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Ends the trace now and hands its spans over to be sent.
    pub fn finish(&self, request: RequestSpan, stages: &Stages) {
        let now = Instant::now();
        let children = self.stage_spans(stages, now);
        let (state, parent_id) = match &self.parent {
            Some(parent) => (parent.state.clone(), parent.span_id.to_vec()),
            None => Default::default(),
        };
        let remote = if self.parent.is_some() { PARENT_IS_REMOTE } else { 0 };
        let code = if request.has_failed { StatusCode::Error } else { StatusCode::Unset };
        let root = Span {
            trace_state: state,
            span_id: self.span_id.to_vec(),
            parent_span_id: parent_id,
            flags: SAMPLED | PARENT_IS_KNOWN | remote,
            kind: SpanKind::Server.into(),
            status: Some(Status { code: code.into(), message: String::new() }),
            ..self.span(&request.name, Period { from: self.began, to: now }, request.attributes)
        };
        self.exporter.take(children.into_iter().chain([root]));
    }

    fn stage_spans(&self, stages: &Stages, now: Instant) -> Vec<Span> {
        let mut spans = Vec::new();
        let Stages { tokenising, submitted, prompts } = stages;
        spans.extend(tokenising.map(|period| self.child("tokenise", period, Vec::new())));
        if let (Some(from), true) = (*submitted, prompts.is_empty()) {
            // No prompt came to its end: the request ended in the queue or in the engine.
            spans.push(self.child("engine", Period { from, to: now }, Vec::new()));
        }
        for (index, prompt) in prompts.iter().enumerate() {
            self.prompt_spans(prompt, *submitted, &mut |name, period, mut attributes: Vec<Attribute>| {
                attributes.push(integer("encdec.prompt", index as u64));
                spans.push(self.child(name, period, attributes));
            });
        }
        spans
    }

    fn prompt_spans(
        &self,
        prompt: &PromptTimes,
        submitted: Option<Instant>,
        tell: &mut dyn FnMut(&'static str, Period, Vec<Attribute>),
    ) {
        let Some(started) = prompt.started else { return };
        if let Some(submitted) = submitted {
            tell("queue", Period { from: submitted, to: started }, Vec::new());
        }
        if let Some(ready) = prompt.source_ready {
            let cached = integer("gen_ai.usage.cache_read.input_tokens", prompt.cached_tokens);
            tell("encode", Period { from: started, to: ready }, vec![cached]);
        }
        let Some(tokens) = prompt.tokens.period() else { return };
        let step_began = prompt.source_ready.unwrap_or(started);
        tell("first step", Period { from: step_began, to: tokens.from }, Vec::new());
        tell("decode", tokens, Vec::new());
        let busy = number("encdec.busy_seconds", prompt.detokenising.as_secs_f64());
        tell("detokenise", tokens, vec![busy]);
    }

    fn child(&self, name: &str, period: Period, attributes: Vec<Attribute>) -> Span {
        Span {
            span_id: random::<8>().unwrap_or(self.span_id).to_vec(),
            parent_span_id: self.span_id.to_vec(),
            flags: SAMPLED | PARENT_IS_KNOWN,
            kind: SpanKind::Internal.into(),
            ..self.span(name, period, attributes)
        }
    }

    fn span(&self, name: &str, period: Period, attributes: Vec<Attribute>) -> Span {
        Span {
            trace_id: self.trace_id.to_vec(),
            name: name.to_owned(),
            start_time_unix_nano: self.nanoseconds(period.from),
            end_time_unix_nano: self.nanoseconds(period.to.max(period.from)),
            attributes,
            ..Span::default()
        }
    }

    /// Time since 1970. All times of a trace are counted from its beginning, so that a clock that is set does not tear
    /// it apart.
    fn nanoseconds(&self, time: Instant) -> u64 {
        let since = self.began_at + time.saturating_duration_since(self.began);
        u64::try_from(since.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Random bytes, not all zeros; none where the system has none.
fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    (bytes != [0; N]).then_some(bytes)
}
