//! The self-test: one request that the server makes before it takes those of clients.
//!
//! Called by the `serve` command once the engine runs.

use super::handle::EngineHandle;
use crate::request::{GenerationEvent, GenerationRequest, Refusal, Salt};

/// The model cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestFailed {
    /// It failed on the request.
    #[error("the model cannot be served, it fails on a request of one token: {message}")]
    Failed {
        /// The engine's message.
        message: String,
    },
    /// The request was not taken.
    #[error("the model cannot be served under these limits")]
    Refused(#[source] Refusal),
    /// The engine ended.
    #[error("the engine ended while it answered its first request")]
    Ended,
}

/// Generates one token from a source of one token and reads its log-probability. Blocks until the answer is there.
///
/// # Errors
/// When no finite log-probability comes, for example because weights are NaN.
pub fn self_test(engine: &EngineHandle, start_token: u32) -> Result<(), SelfTestFailed> {
    // No client has this salt, so none finds the source in the cache.
    let slots = engine.reserve(Salt::of(b"self-test"), 1).map_err(SelfTestFailed::Refused)?;
    let request =
        GenerationRequest { ignore_end: true, log_probs: Some(0), ..GenerationRequest::new([start_token], 1) };
    let mut generation = engine.submit(slots, request).map_err(SelfTestFailed::Refused)?;
    while let Some(event) = generation.blocking_next() {
        match event {
            GenerationEvent::Token { score: Some(score), .. } if !score.chosen.log_prob.is_finite() => {
                let message = format!("the log-probability of its answer is {}", score.chosen.log_prob);
                return Err(SelfTestFailed::Failed { message });
            }
            GenerationEvent::Failed { message, .. } => return Err(SelfTestFailed::Failed { message }),
            GenerationEvent::Finished { .. } => return Ok(()),
            GenerationEvent::Started { .. } | GenerationEvent::Scored { .. } | GenerationEvent::Token { .. } => {}
        }
    }
    Err(SelfTestFailed::Ended)
}
