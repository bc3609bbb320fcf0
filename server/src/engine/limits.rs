//! How much an engine takes and holds at once, and which requests fit it.

use kernels::PAGE_TOKENS;

use super::masks::MaskLimits;
use crate::overload::{GateLimits, WaitLimits};
use crate::request::{Readout, Refusal, RequestLengths};
use crate::scheduler::SchedulerLimits;

/// Limits of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    /// Most sequences that wait for a row and pages.
    pub queued_rows: u32,
    /// How long a newcomer may be expected to wait.
    pub wait: WaitLimits,
    /// Most tokens of a source.
    pub source_tokens: usize,
    /// Most tokens of a target: decoder prompt plus generated tokens of one choice.
    pub target_tokens: usize,
    /// Classes that the model's head scores; 0 without a head.
    pub classes: usize,
    /// Whether the decoder also writes without a source, so that a source may be empty.
    pub writes_alone: bool,
    /// Steps that a search among given targets may take to be exact; 0: none is.
    pub exact_steps: u32,
    /// Work on constraints.
    pub masks: MaskLimits,
    /// The page pool and the largest step.
    pub steps: SchedulerLimits,
}

impl EngineLimits {
    /// Most tokens that can be generated for a source and a decoder prompt of these lengths, 0 when none can.
    /// `max_tokens` has no meaning.
    pub fn most_tokens(&self, lengths: RequestLengths) -> usize {
        let pages = self.steps.pool.pages.saturating_sub(self.steps.pool.source_pages(lengths.source));
        let positions = (pages / lengths.branches).saturating_mul(PAGE_TOKENS).min(self.target_tokens);
        positions.saturating_sub(lengths.decoder_prompt)
    }

    /// Checks that a request of these lengths can be served at all.
    ///
    /// # Errors
    /// The [`Refusal`] of a request whose source is empty and must not be, or that is too long or too wide for the
    /// model, the rows that run at once, or the whole page pool.
    pub fn check(&self, lengths: RequestLengths) -> Result<(), Refusal> {
        let RequestLengths { branches, source, decoder_prompt, max_tokens } = lengths;
        if !self.generates() {
            return Err(Refusal::NoDecoder);
        }
        if source > 0 || !self.writes_alone {
            self.check_source(source)?;
        }
        if branches > self.steps.running_rows {
            return Err(Refusal::TooWide { width: branches, limit: self.steps.running_rows });
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

    /// Limits of the queue.
    pub const fn gate(&self) -> GateLimits {
        GateLimits { queued_rows: self.queued_rows, wait: self.wait, draft_rows: self.steps.draft_rows }
    }

    /// Whether the model has a decoder.
    pub const fn generates(&self) -> bool {
        self.target_tokens > 0
    }

    /// Checks that this can be read of a source of so many tokens. It takes no pages.
    ///
    /// # Errors
    /// The [`Refusal`] of a source that is empty or too long, or of classes where there are none.
    pub fn check_encoding(&self, tokens: usize, readout: Readout) -> Result<(), Refusal> {
        if readout == Readout::Classes && self.classes == 0 {
            return Err(Refusal::NoClasses);
        }
        self.check_source(tokens)
    }

    const fn check_source(&self, tokens: usize) -> Result<(), Refusal> {
        match tokens {
            0 => Err(Refusal::EmptySource),
            _ if tokens > self.source_tokens => Err(Refusal::SourceTooLong { tokens, limit: self.source_tokens }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scheduler::PoolSize;
    use model::{EncoderCost, PagePieces};

    const LIMITS: EngineLimits = EngineLimits {
        queued_rows: 1,
        wait: WaitLimits { usual: Duration::from_secs(10), overload_percent: 20 },
        source_tokens: 40,
        target_tokens: 50,
        classes: 0,
        writes_alone: false,
        exact_steps: 0,
        masks: MaskLimits { threads: 1, wait: Duration::ZERO, time: Duration::ZERO, queue: Duration::ZERO },
        steps: SchedulerLimits {
            pool: PoolSize { pages: 5, source_page_tokens: 16, pieces: PagePieces::ONE },
            running_rows: 1,
            call_rows: 1,
            step_rows: 1,
            step_encoder_tokens: 64,
            draft_rows: 0,
            encoder: EncoderCost::undivided(1),
        },
    };

    fn check(source: usize, decoder_prompt: usize, max_tokens: usize) -> Result<(), Refusal> {
        LIMITS.check(RequestLengths { branches: 1, source, decoder_prompt, max_tokens })
    }

    #[test]
    fn a_request_as_long_as_each_limit_is_taken_and_a_longer_one_refused_by_name() {
        assert_eq!(check(40, 2, 30), Ok(()));
        assert_eq!(check(41, 2, 30), Err(Refusal::SourceTooLong { tokens: 41, limit: 40 }));
        assert_eq!(check(16, 2, 48), Ok(()));
        assert_eq!(check(16, 3, 48), Err(Refusal::TargetTooLong { prompt: 3, max_tokens: 48, limit: 50 }));
        assert_eq!(check(40, 2, 31), Err(Refusal::NeverFits { needed: 6, pages: 5 }));
    }

    #[test]
    fn as_many_tokens_as_possible_are_those_that_are_just_taken() {
        for (source, decoder_prompt) in [(1, 0), (16, 2), (17, 2), (40, 2), (40, 31), (40, 50)] {
            let most = LIMITS.most_tokens(RequestLengths { branches: 1, source, decoder_prompt, max_tokens: 0 });
            assert!(most == 0 || check(source, decoder_prompt, most).is_ok(), "{source} {decoder_prompt}: {most}");
            assert!(check(source, decoder_prompt, most + 1).is_err(), "{source} {decoder_prompt}: {most}");
        }
        let beams =
            |source| LIMITS.most_tokens(RequestLengths { branches: 2, source, decoder_prompt: 3, max_tokens: 0 });
        assert_eq!([beams(16), beams(33), beams(100)], [29, 13, 0]);
    }

    #[test]
    fn what_the_model_lacks_is_refused_whatever_the_lengths() {
        assert_eq!(LIMITS.check_encoding(40, Readout::Mean), Ok(()), "more pages than the pool has are not needed");
        assert_eq!(LIMITS.check_encoding(1, Readout::Classes), Err(Refusal::NoClasses));
        assert_eq!(EngineLimits { classes: 2, ..LIMITS }.check_encoding(1, Readout::Classes), Ok(()));
        let no_decoder = EngineLimits { target_tokens: 0, ..LIMITS };
        let lengths = RequestLengths { branches: 1, source: 1, decoder_prompt: 0, max_tokens: 1 };
        assert_eq!(no_decoder.check(lengths), Err(Refusal::NoDecoder));
        assert_eq!(no_decoder.check_encoding(41, Readout::Mean), check(41, 0, 1));
    }

    #[test]
    fn a_beam_search_has_as_many_rows_and_pages_as_branches() {
        let check = |limits: EngineLimits, branches| {
            limits.check(RequestLengths { branches, source: 16, decoder_prompt: 0, max_tokens: 17 })
        };
        assert_eq!(check(LIMITS, 2), Err(Refusal::TooWide { width: 2, limit: 1 }));
        let wide = EngineLimits { steps: SchedulerLimits { running_rows: 8, step_rows: 8, ..LIMITS.steps }, ..LIMITS };
        assert_eq!(check(wide, 2), Ok(()));
        assert_eq!(check(wide, 3), Err(Refusal::NeverFits { needed: 7, pages: 5 }));
    }

    #[test]
    fn an_empty_source_is_refused() {
        assert_eq!(check(1, 2, 30), Ok(()));
        assert_eq!(check(0, 2, 30), Err(Refusal::EmptySource));
        assert_eq!(check(0, 0, 0), Err(Refusal::EmptySource), "even where nothing is asked for");
        let alone = EngineLimits { writes_alone: true, ..LIMITS };
        let lengths = |source| RequestLengths { branches: 1, source, decoder_prompt: 2, max_tokens: 30 };
        assert_eq!(alone.check(lengths(0)), Ok(()), "where the decoder writes without one");
        assert_eq!(alone.check(lengths(41)), Err(Refusal::SourceTooLong { tokens: 41, limit: 40 }));
        assert_eq!(alone.check_encoding(0, Readout::Mean), Err(Refusal::EmptySource), "nothing has no states");
    }
}
