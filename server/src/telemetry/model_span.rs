//! The span of log lines about one model: whatever is logged within it carries the model's name.

/// Does `work`, whose log lines carry the name of `model`.
pub fn in_model_span<T>(model: &str, work: impl FnOnce() -> T) -> T {
    // As severe as any line, so that no level leaves the span out of a line that is written.
    tracing::error_span!("serving", model).in_scope(work)
}
