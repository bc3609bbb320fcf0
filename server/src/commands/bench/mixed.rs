//! `server bench --mixed`: the load of a busy server, requests of mixed lengths that are all submitted at once.
//!
//! Its rate is the one that HTTP is compared with: scripts/http-load.py sends the same requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::conditions::model_name;
use super::driver::{request, source_of};
use super::print::print_json;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::engine::{Engine, Generation};
use crate::loading::load;
use crate::request::{GenerationEvent, RequestLengths, Salt};
use crate::telemetry::EngineMetrics;

/// Threads beside the engine's: the one that samples the pages.
pub(super) const THREADS: usize = 1;
/// Time between two samples of the pages.
const SAMPLE_EVERY: Duration = Duration::from_millis(2);

/// The printed figures.
#[derive(Debug, Serialize)]
struct Line<'a> {
    engine: String,
    shape: &'a str,
    device: String,
    requests: usize,
    source_tokens: usize,
    target_tokens: usize,
    seconds: f64,
    target_tokens_per_s: f64,
    /// Speed of the device's memory.
    memory_bytes_per_s: f64,
    /// Speed of large products.
    products_per_s: f64,
    /// Share of held page positions without a token, as a mean over the time.
    page_waste: f64,
}

/// Lengths of a request, in tokens.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    source: usize,
    target: usize,
}

impl Lengths {
    /// Lengths of request `index`: 448 and 64 in the mean of many.
    const fn of(index: usize) -> Self {
        Self { source: 32 + index * 331 % 833, target: 16 + index * 151 % 97 }
    }
}

/// The requests of a round, and the engine that runs them.
struct Load {
    engine: Engine,
    metrics: Arc<EngineMetrics>,
    requests: usize,
    vocab: u64,
}

/// Figures of one round over all requests.
struct RoundFigures {
    seconds: f64,
    page_waste: f64,
}

/// Runs the requests twice, the first time to warm up, and prints a JSON line for the second.
///
/// # Errors
/// When the model cannot be loaded, or the lengths exceed it.
pub fn mixed(config: &Config, requests: usize) -> Result<(), CommandError> {
    let loaded = load(config)?;
    let mut limits = loaded.limits(config)?;
    limits.queued_rows = limits.queued_rows.max(requests as u32);
    let all = || (0..requests).map(Lengths::of);
    let longest = |length: fn(Lengths) -> usize| all().map(length).max().unwrap_or(0);
    let (source, max_tokens) = (longest(|lengths| lengths.source), longest(|lengths| lengths.target));
    limits.check(RequestLengths { branches: 1, source, decoder_prompt: 0, max_tokens })?;
    let (memory_bytes_per_s, products_per_s) = (loaded.memory_bytes_per_s()?, loaded.products_per_s()?);
    let (engine_name, device) = (format!("encdec-{}", loaded.arithmetic()), loaded.device());
    let vocab = loaded.config().encoder.vocab as u64;
    let metrics = Arc::new(EngineMetrics::default());
    let load = Load { engine: loaded.start(limits, Arc::clone(&metrics))?, metrics, requests, vocab };
    load.run(0)?;
    let RoundFigures { seconds, page_waste } = load.run(1)?;
    let target_tokens = all().map(|lengths| lengths.target).sum();
    print_json(&Line {
        engine: engine_name,
        shape: model_name(config),
        device,
        requests,
        source_tokens: all().map(|lengths| lengths.source).sum(),
        target_tokens,
        seconds,
        target_tokens_per_s: target_tokens as f64 / seconds,
        memory_bytes_per_s,
        products_per_s,
        page_waste,
    })?;
    load.engine.handle.drain();
    load.engine.join();
    Ok(())
}

impl Load {
    /// Submits all requests of a round, whose sources are new, and waits for the last token.
    fn run(&self, round: usize) -> Result<RoundFigures, CommandError> {
        let handle = &self.engine.handle;
        let number = |index| (round * self.requests + index) as u64;
        let sources = (0..self.requests).map(|index| source_of(number(index), Lengths::of(index).source, self.vocab));
        let sources: Vec<Vec<u32>> = sources.collect();
        let began = Instant::now();
        let mut generations = Vec::with_capacity(self.requests);
        for (index, source) in sources.into_iter().enumerate() {
            let asked = request(source, Lengths::of(index).target as u32);
            generations.push(handle.submit(handle.reserve(Salt::default(), 1)?, asked)?);
        }
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| mean_until(&is_over, || self.metrics.page_waste_ratio.get()));
            let finished = generations.iter_mut().try_for_each(finish);
            let seconds = began.elapsed().as_secs_f64();
            is_over.store(true, Ordering::Relaxed);
            let page_waste = watch.join().expect("a mean of numbers does not panic");
            finished.map(|()| RoundFigures { seconds, page_waste })
        })
    }
}

/// Waits for the last token.
fn finish(generation: &mut Generation) -> Result<(), CommandError> {
    while let Some(event) = generation.blocking_next() {
        if let GenerationEvent::Failed { message, .. } = event {
            return Err(CommandError::Failed { message });
        }
    }
    Ok(())
}

/// Mean of a value that is sampled until `is_over`.
fn mean_until(is_over: &AtomicBool, value: impl Fn() -> f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    while !is_over.load(Ordering::Relaxed) {
        sum += value();
        count += 1;
        std::thread::sleep(SAMPLE_EVERY);
    }
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_mixed_and_have_the_mean_that_is_said() {
        let (sources, targets): (Vec<usize>, Vec<usize>) =
            (0..256).map(Lengths::of).map(|lengths| (lengths.source, lengths.target)).unzip();
        let mean = |values: &[usize]| values.iter().sum::<usize>() / values.len();
        assert!((440..=456).contains(&mean(&sources)) && (60..=68).contains(&mean(&targets)));
        assert!(sources.iter().any(|&len| len < 64) && sources.iter().any(|&len| len > 800));
    }
}
