//! Every metric of the server: names, help, buckets, and typed handles.
//!
//! `api` counts requests and times tokens, each engine's thread sets its pages and steps, `/metrics` reads. Only this
//! folder spells names of metrics. Metrics of a model carry its name in the label `model`, those of the process do not.

mod batch_metrics;
mod buckets;
mod encoder_metrics;
mod engine_metrics;
mod families;
mod key_metrics;
mod log_lines;
mod metrics;
mod model_span;
mod outcome;
mod overload_metrics;
mod process_metrics;
mod request_metrics;
mod server_metrics;
mod step_metrics;
mod trace_metrics;
mod vllm_names;

pub use batch_metrics::BatchMetrics;
pub use encoder_metrics::EncoderMetrics;
pub use engine_metrics::EngineMetrics;
pub use key_metrics::{KeyMetrics, KeyUse};
pub use metrics::{MetricNames, Metrics, ModelMetrics};
pub use model_span::in_model_span;
pub use outcome::Outcome;
pub use request_metrics::RequestMetrics;
pub use server_metrics::{OpenConnection, ServerMetrics};
pub use step_metrics::StepMetrics;
pub use trace_metrics::TraceMetrics;
