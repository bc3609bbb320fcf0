//! Traces: the stages of requests as spans, sent to a collector over OTLP (HTTP, protobuf).
//!
//! `api` begins a trace with a request and finishes it with the last byte of its answer; a thread of its own sends what
//! a bounded queue holds. A collector that is down, slow or full costs spans, which are counted, and nothing else.

mod attribute;
mod context;
mod exporter;
mod request_trace;
mod settings;
mod stages;

pub use attribute::{Attribute, integer, number, text, texts};
pub use context::TraceContext;
pub use exporter::Traces;
pub use request_trace::{RequestSpan, RequestTrace};
pub use settings::TraceSettings;
pub use stages::{Period, PromptTimes, Stages, TokenTimes};
