//! A request that the server makes of itself before it takes those of others.
//!
//! Called by the `serve` command once the engine runs.

use kernels::Sampling;

use super::handle::EngineHandle;
use super::request::{GenerationEvent, GenerationRequest, Refusal};
use super::salt::Salt;

/// The model cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestFailed {
    /// It failed on the request.
    #[error("the model cannot be served, it fails on a request of one token: {message}")]
    Failed {
        /// What the engine said.
        message: String,
    },
    /// The request was not taken.
    #[error("the model cannot be served under these limits")]
    Refused(#[source] Refusal),
    /// The engine ended.
    #[error("the engine ended while it answered its first request")]
    Ended,
}

/// Generates one token from a source of one token, and reads its log-probability. Blocks until it has.
///
/// # Errors
/// When there is none: a model with weights that are no numbers gives none, for one.
pub fn self_test(engine: &EngineHandle, start_token: u32) -> Result<(), SelfTestFailed> {
    let slots = engine.reserve(1).map_err(SelfTestFailed::Refused)?;
    let request = GenerationRequest {
        source: vec![start_token],
        decoder_prompt: Vec::new(),
        choices: 1,
        max_tokens: 1,
        min_tokens: 0,
        ignore_end: true,
        sampling: Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 },
        log_probs: Some(0),
        score_prompt: false,
        // Nobody finds its source.
        salt: Salt::of(b"self-test"),
    };
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
