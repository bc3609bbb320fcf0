//! Times of the stages of a request, as its record notes them.
//!
//! Filled by `api`, for metrics and for traces.

use std::time::{Duration, Instant};

/// From one time to a later one.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
}

impl Period {
    /// From this time until now.
    pub fn since(from: Instant) -> Self {
        Self { from, to: Instant::now() }
    }
}

/// Times at which the tokens of a choice, or of all choices of a prompt, arrived.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenTimes {
    first: Option<Instant>,
    last: Option<Instant>,
}

impl TokenTimes {
    /// Notes a token that arrived now. Returns the time since the one before it.
    pub fn note(&mut self, now: Instant) -> Option<Duration> {
        self.first.get_or_insert(now);
        self.last.replace(now).map(|before| now - before)
    }

    /// From the first token to the last one.
    pub fn period(&self) -> Option<Period> {
        Some(Period { from: self.first?, to: self.last? })
    }
}

/// Times of a prompt in the engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct PromptTimes {
    /// When its run began.
    pub started: Option<Instant>,
    /// When its source was encoded; absent if that was so when its run began.
    pub source_ready: Option<Instant>,
    /// Tokens of its source that were encoded already.
    pub cached_tokens: u32,
    /// Tokens of all of its choices.
    pub tokens: TokenTimes,
    /// Time that making text of the tokens took.
    pub detokenising: Duration,
}

/// Times of the stages of a request.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// Making tokens of its texts, the wait for a thread included.
    pub tokenising: Option<Period>,
    /// When the engine got its prompts.
    pub submitted: Option<Instant>,
    /// Its prompts, in the order of their ends, as many as are traced.
    pub prompts: Vec<PromptTimes>,
}
