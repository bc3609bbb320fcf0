//! How much an engine takes and holds at once, and which requests fit it.

use crate::request::{Refusal, RequestLengths};
use crate::scheduler::SchedulerLimits;

/// Limits of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    /// Most sequences that wait for a row and pages.
    pub queued_rows: u32,
    /// Most tokens of a source.
    pub source_tokens: usize,
    /// Most tokens of a target: decoder prompt plus generated tokens of one choice.
    pub target_tokens: usize,
    /// The page pool and the largest step.
    pub steps: SchedulerLimits,
}

impl EngineLimits {
    /// Checks that a request of these lengths can be served at all.
    ///
    /// # Errors
    /// The [`Refusal`] of a request that is too long for the model or for the whole page pool.
    pub fn check(&self, lengths: RequestLengths) -> Result<(), Refusal> {
        let RequestLengths { source, decoder_prompt, max_tokens } = lengths;
        if source > self.source_tokens {
            return Err(Refusal::SourceTooLong { tokens: source, limit: self.source_tokens });
        }
        if lengths.target_positions() > self.target_tokens {
            return Err(Refusal::TargetTooLong { prompt: decoder_prompt, max_tokens, limit: self.target_tokens });
        }
        let (needed, pages) = (self.steps.pool.request_pages(lengths), self.steps.pool.pages);
        if needed > pages {
            return Err(Refusal::NeverFits { needed, pages });
        }
        Ok(())
    }
}
