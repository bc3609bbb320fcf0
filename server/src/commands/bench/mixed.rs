//! `server bench --mixed`: as many requests as a busy server has, of lengths as mixed as theirs, all at once.
//!
//! What comes out is the rate that HTTP is measured against: scripts/http-load.py sends the same requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::driver::{request, source_of};
use super::{model_name, print};
use crate::commands::CommandError;
use crate::config::Config;
use crate::engine::Generation;
use crate::loading::load;
use crate::request::{GenerationEvent, RequestLengths, Salt};
use crate::telemetry::Metrics;

/// Threads beside the engine's: the one that looks at the pages.
pub(super) const THREADS: usize = 1;
/// Time between two looks at the pages.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What the requests took.
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
    /// Speed of the device's memory, and of large products.
    memory_bytes_per_s: f64,
    products_per_s: f64,
    /// Mean over the time of the share of held page positions without a token.
    page_waste: f64,
}

/// Source and target length of a request: 448 and 64 in the mean of many.
const fn lengths(index: usize) -> (usize, usize) {
    (32 + index * 331 % 833, 16 + index * 151 % 97)
}

/// Runs the requests twice, the first time to warm up, and prints a JSON line for the second.
///
/// # Errors
/// As [`super::bench`].
pub fn mixed(config: &Config, requests: usize) -> Result<(), CommandError> {
    let loaded = load(config)?;
    let mut limits = loaded.limits(config)?;
    limits.queued_rows = limits.queued_rows.max(requests as u32);
    let longest = (0..requests).map(lengths).fold((0, 0), |(s, t), (source, target)| (s.max(source), t.max(target)));
    limits.check(RequestLengths { source: longest.0, decoder_prompt: 0, max_tokens: longest.1 })?;
    let (memory_bytes_per_s, products_per_s) = (loaded.memory_bytes_per_s()?, loaded.products_per_s()?);
    let (engine_name, device) = (format!("encdec-{}", loaded.arithmetic()), loaded.device());
    let vocab = loaded.config().encoder.vocab as u64;
    let metrics = Metrics::new();
    let engine = loaded.start(limits, metrics.clone())?;
    let run = |round: usize| -> Result<(f64, f64), CommandError> {
        let handle = &engine.handle;
        let sources = (0..requests).map(|index| source_of((round * requests + index) as u64, lengths(index).0, vocab));
        let sources: Vec<Vec<u32>> = sources.collect();
        let began = Instant::now();
        let mut generations = Vec::with_capacity(requests);
        for (index, source) in sources.into_iter().enumerate() {
            let asked = request(source, lengths(index).1 as u32);
            generations.push(handle.submit(handle.reserve(Salt::default(), 1)?, asked)?);
        }
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| mean_while(&is_over, || metrics.page_waste_ratio.get()));
            let finished = generations.iter_mut().try_for_each(finish);
            let seconds = began.elapsed().as_secs_f64();
            is_over.store(true, Ordering::Relaxed);
            let waste = watch.join().expect("a mean of numbers does not panic");
            finished.map(|()| (seconds, waste))
        })
    };
    run(0)?;
    let (seconds, page_waste) = run(1)?;
    let (source_tokens, target_tokens) =
        (0..requests).map(lengths).fold((0, 0), |(s, t), (source, target)| (s + source, t + target));
    let line = Line {
        engine: engine_name,
        shape: model_name(config),
        device,
        requests,
        source_tokens,
        target_tokens,
        seconds,
        target_tokens_per_s: target_tokens as f64 / seconds,
        memory_bytes_per_s,
        products_per_s,
        page_waste,
    };
    print(&serde_json::to_string(&line).expect("numbers and text serialise"))?;
    engine.handle.drain();
    engine.join();
    Ok(())
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

/// The mean of a value that is looked at again and again.
fn mean_while(is_over: &AtomicBool, value: impl Fn() -> f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    while !is_over.load(Ordering::Relaxed) {
        sum += value();
        count += 1;
        std::thread::sleep(LOOK_EVERY);
    }
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_mixed_and_have_the_mean_that_is_said() {
        let (sources, targets): (Vec<usize>, Vec<usize>) = (0..256).map(lengths).unzip();
        let mean = |values: &[usize]| values.iter().sum::<usize>() / values.len();
        assert!((440..=456).contains(&mean(&sources)) && (60..=68).contains(&mean(&targets)));
        assert!(sources.iter().any(|&len| len < 64) && sources.iter().any(|&len| len > 800));
    }
}
