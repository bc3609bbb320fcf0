//! The self-test: one request that the server makes before it takes those of clients.
//!
//! Called by the `serve` command once the engine runs.

use super::handle::EngineHandle;
use super::slots::Slots;
use crate::request::{EncodeRequest, EncodingEvent, GenerationEvent, GenerationRequest, Readout, Refusal, Salt};

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

/// Generates one token from a source of one token and reads its log-probability; a model without a decoder encodes the
/// source. Blocks until the answer is there.
///
/// # Errors
/// When no finite numbers come, for example because weights are NaN.
pub fn self_test(engine: &EngineHandle, start_token: u32) -> Result<(), SelfTestFailed> {
    // No client has this salt, so none finds the source in the cache.
    let slots = engine.reserve(Salt::of(b"self-test"), 1).map_err(SelfTestFailed::Refused)?;
    if engine.limits().generates() { generate(engine, slots, start_token) } else { encode(engine, slots, start_token) }
}

fn encode(engine: &EngineHandle, slots: Slots, token: u32) -> Result<(), SelfTestFailed> {
    let request = EncodeRequest { source: [token].into(), readout: Readout::Mean };
    let mut encoding = engine.encode(slots, request).map_err(SelfTestFailed::Refused)?;
    while let Some(event) = encoding.blocking_next() {
        match event {
            EncodingEvent::Started => {}
            EncodingEvent::Encoded { .. } => return Ok(()),
            EncodingEvent::Failed { message, .. } => return Err(SelfTestFailed::Failed { message }),
        }
    }
    Err(SelfTestFailed::Ended)
}

fn generate(engine: &EngineHandle, slots: Slots, start_token: u32) -> Result<(), SelfTestFailed> {
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
            GenerationEvent::Started { .. }
            | GenerationEvent::SourceReady
            | GenerationEvent::Scored { .. }
            | GenerationEvent::Token { .. }
            | GenerationEvent::Drafted { .. }
            | GenerationEvent::Rated { .. } => {}
        }
    }
    Err(SelfTestFailed::Ended)
}
