//! From the engine's events to scores.
//!
//! Called by `handler`. Dropping the work cancels it.

use std::time::Instant;

use super::order::{OrderedPair, whole_targets};
use crate::api::answers::{Generations, PromptEvent, RequestRecord};
use crate::api::http::ApiError;
use crate::request::GenerationEvent;
use crate::traces::{PromptTimes, TokenTimes};

/// The likelihood of a target.
#[derive(Debug, Clone, Copy, Default)]
pub struct Likelihood {
    /// Sum of the natural logarithms of its tokens' probabilities.
    pub log_prob: f64,
    /// Number of its tokens.
    pub tokens: u32,
}

impl Likelihood {
    /// The likelihood of a target whose tokens have these log-probabilities.
    fn of(log_probs: &[f32]) -> Self {
        Self { log_prob: log_probs.iter().map(|&log_prob| f64::from(log_prob)).sum(), tokens: log_probs.len() as u32 }
    }

    /// The sum, or its share for each token.
    pub fn score(self, per_token: bool) -> f64 {
        if per_token { self.log_prob / f64::from(self.tokens.max(1)) } else { self.log_prob }
    }
}

/// Reads the likelihoods of the targets of all pairs, which the engine scores in this order.
///
/// # Errors
/// When the engine fails or the server ends first.
pub async fn likelihoods(
    mut generations: Generations,
    order: &[OrderedPair],
    record: &mut RequestRecord,
) -> Result<Vec<Likelihood>, ApiError> {
    let mut scores = vec![Vec::new(); order.len()];
    let mut times = vec![PromptTimes::default(); order.len()];
    loop {
        let next = record.unless_cut_off(async { Ok(generations.next().await) }).await?;
        let Some(PromptEvent { prompt, event }) = next else {
            return Ok(whole_targets(order, &scores, Likelihood::of));
        };
        match event.ok_or(ApiError::EngineGone)? {
            GenerationEvent::Started { cached_tokens } => record.started(cached_tokens, &mut times[prompt]),
            GenerationEvent::SourceReady => times[prompt].source_ready = Some(Instant::now()),
            GenerationEvent::Scored { score, .. } => scores[prompt].push(score.chosen.log_prob),
            // None was asked for.
            GenerationEvent::Token { .. } | GenerationEvent::Drafted { .. } | GenerationEvent::Rated { .. } => {}
            GenerationEvent::Finished { reason, .. } => {
                record.finished(reason, 0, &TokenTimes::default());
                record.prompt_finished(&times[prompt]);
                generations.close(prompt);
            }
            GenerationEvent::Failed { message, kind } => return Err(ApiError::failed(message, kind)),
        }
    }
}

/// The cosine of the angle between two vectors of equal length; 0 when one has no length.
pub fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |one: &[f32], other: &[f32]| -> f64 {
        one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
    };
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    if lengths > 0.0 { dot(one, other) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likelihood_is_a_sum_or_its_share_for_each_token() {
        let likelihood = Likelihood { log_prob: -6.0, tokens: 4 };
        assert_eq!((likelihood.score(false), likelihood.score(true)), (-6.0, -1.5));
    }

    #[test]
    fn a_cosine_does_not_depend_on_lengths() {
        assert_eq!(cosine(&[1.0, 0.0], &[5.0, 0.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[3.0, 4.0], &[-3.0, -4.0]), -1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 1.0]), 0.0);
    }
}
