//! Batches of requests through the engine. End tokens are ignored, and every source is new, so that none is
//! found in the cache.
//!
//! Used by `measure`, `beams`, `controls`, `copying`, `schema` and `profile`.

use std::time::{Duration, Instant};

use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::engine::{Engine, EngineLimits};
use crate::request::{GenerationEvent, GenerationRequest, RequestLengths, Salt};

/// Ids below this have special meaning in Gemma's vocabulary.
const FIRST_PLAIN_ID: u64 = 10;

/// An engine, and the number of sources that it was given.
pub struct Driver {
    engine: Engine,
    source_len: usize,
    vocab: u64,
    sources_made: u64,
}

/// Time of a batch, and the tokens that it gave.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// From the first request to the last event.
    pub time: Duration,
    /// Tokens of all answers.
    pub tokens: usize,
}

impl Driver {
    /// Drives an engine whose model has `vocab` ids, and warms it up.
    pub fn start(engine: Engine, options: &BenchOptions, vocab: usize) -> Result<Self, CommandError> {
        let source_len = options.source_len.get();
        let mut driver = Self { engine, source_len, vocab: vocab as u64, sources_made: 0 };
        driver.run(1, 2)?;
        Ok(driver)
    }

    /// Time of `batch` new sources with `target_len` tokens from each.
    pub fn run(&mut self, batch: usize, target_len: usize) -> Result<Duration, CommandError> {
        self.run_each(batch, |source| request(source, target_len as u32))
    }

    /// Time of what is asked of each of so many new sources.
    pub fn run_each(
        &mut self,
        sources: usize,
        ask: impl Fn(Vec<u32>) -> GenerationRequest,
    ) -> Result<Duration, CommandError> {
        Ok(self.count_each(sources, ask)?.time)
    }

    /// Time of what is asked of each of so many new sources, and the tokens of all answers.
    pub fn count_each(
        &mut self,
        sources: usize,
        ask: impl Fn(Vec<u32>) -> GenerationRequest,
    ) -> Result<Counted, CommandError> {
        let handle = self.engine.handle.clone();
        let requests: Vec<GenerationRequest> = (0..sources).map(|_| ask(self.new_source())).collect();
        let began = Instant::now();
        let mut generations = Vec::with_capacity(sources);
        for request in requests {
            let rows = request.sequences() * request.branches() as u32;
            generations.push(handle.submit(handle.reserve(Salt::default(), rows)?, request)?);
        }
        let mut tokens = 0;
        for generation in &mut generations {
            while let Some(event) = generation.blocking_next() {
                match event {
                    GenerationEvent::Failed { message, .. } => return Err(CommandError::Failed { message }),
                    GenerationEvent::Token { .. } => tokens += 1,
                    _ => {}
                }
            }
        }
        Ok(Counted { time: began.elapsed(), tokens })
    }

    /// Ends the engine; its memory is free afterwards.
    pub fn end(self) {
        self.engine.handle.drain();
        self.engine.join();
    }

    /// A source that was not given before.
    fn new_source(&mut self) -> Vec<u32> {
        self.sources_made += 1;
        source_of(self.sources_made, self.source_len, self.vocab)
    }
}

/// Ids of a source that no other `number` gives (SplitMix64).
pub(super) fn source_of(number: u64, len: usize, vocab: u64) -> Vec<u32> {
    let mut state = number << 32;
    let plain_ids = vocab.saturating_sub(FIRST_PLAIN_ID).max(1);
    let mut id = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((FIRST_PLAIN_ID + (mixed >> 27) % plain_ids) % vocab) as u32
    };
    (0..len).map(|_| id()).collect()
}

/// Limits under which the largest batch runs at once, whatever the settings for serving are.
///
/// # Errors
/// When the lengths exceed the model.
pub fn room_for(options: &BenchOptions, mut limits: EngineLimits) -> Result<EngineLimits, CommandError> {
    let batch = options.batches().into_iter().max().unwrap_or(1);
    let lengths = RequestLengths {
        branches: 1,
        source: options.source_len.get(),
        decoder_prompt: 0,
        max_tokens: options.target_len,
    };
    let steps = &mut limits.steps;
    steps.pool.pages = steps.pool.pages.max((batch + 1) * steps.pool.request_pages(lengths));
    steps.running_rows = steps.running_rows.max(batch);
    steps.call_rows = steps.call_rows.max(batch);
    steps.step_rows = steps.step_rows.max(batch);
    limits.queued_rows = limits.queued_rows.max(batch as u32);
    limits.check(lengths)?;
    Ok(limits)
}

/// A greedy request for exactly `max_tokens` tokens.
pub(super) fn request(source: Vec<u32>, max_tokens: u32) -> GenerationRequest {
    GenerationRequest { ignore_end: true, ..GenerationRequest::new(source, max_tokens) }
}
