//! `server bench`: the engine's own speed, without HTTP, against what the memory allows.
//!
//! Called by `main`. Requests go through the same engine as in `serve`; greedy, end tokens ignored, every source
//! new so that nothing is found in the cache. Prints one JSON line for each batch size.

use std::io::{Write, stdout};
use std::time::Instant;

use kernels::{Precision, Sampling};
use model::StepLoad;
use serde::Serialize;

use super::{CommandError, io};
use crate::cli::BenchOptions;
use crate::config::{Config, ModelSource};
use crate::engine::{Engine, GenerationEvent, GenerationRequest};
use crate::loading::{Capacity, load};
use crate::telemetry::Metrics;

/// Measurements of each figure; the median is reported.
const REPEATS: usize = 3;
/// Ids below this have special meaning in Gemma's vocabulary.
const FIRST_PLAIN_ID: u64 = 10;

/// One batch size's figures; keys as in the comparison scripts for other engines.
#[derive(Debug, Serialize)]
struct Line<'a> {
    engine: &'a str,
    shape: &'a str,
    source: usize,
    target: usize,
    batch: usize,
    /// Sources to first tokens of the whole batch.
    encode_ms: f64,
    /// One further token for the whole batch.
    step_ms: f64,
    decode_tokens_per_s: f64,
    tokens_per_s: f64,
    /// Bytes a step must read, in the middle of the target.
    step_bytes: u64,
    /// Memory speed, measured in the same process before the first batch.
    read_bytes_per_s: f64,
    /// `step_bytes / read_bytes_per_s`.
    floor_ms: f64,
    threads: usize,
    instruction_set: &'a str,
}

/// Measures every batch size.
///
/// # Errors
/// When the model cannot be loaded or the lengths exceed it.
pub fn bench(config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
    let loaded = load(&config.model)?;
    let (model, level, threads) = (loaded.model.config().clone(), loaded.level.name(), config.model.threads);
    let cross_kv = loaded.model.cross_kv();
    let capacity = room_for(options, loaded.capacity(config)?);
    capacity.door.check(options.source_len.get(), 0, options.target_len)?;
    let read_bytes_per_s = loaded.model.backend().read_bytes_per_s().map_err(crate::loading::LoadError::from)?;
    let vocab = model.encoder.vocab as u64;
    let engine = loaded.start(capacity, Metrics::new())?;
    let mut bench = Bench { engine, options, vocab, sources_made: 0 };
    bench.run(1, 2)?;
    for batch in options.batches.iter().map(|batch| batch.get()) {
        let (first_s, whole_s) = bench.measure(batch)?;
        let step_s = (whole_s - first_s) / (options.target_len - 1) as f64;
        let (source_len, target_len) = (options.source_len.get(), options.target_len / 2);
        let lengths = StepLoad { batch, source_len, target_len, cross_kv };
        let step_bytes = model.step_bytes(config.model.precision, lengths);
        let line = Line {
            engine: engine_name(config.model.precision),
            shape: shape_name(config),
            source: lengths.source_len,
            target: options.target_len,
            batch,
            encode_ms: rounded(first_s * 1e3),
            step_ms: rounded(step_s * 1e3),
            decode_tokens_per_s: rounded(batch as f64 / step_s),
            tokens_per_s: rounded((batch * options.target_len) as f64 / whole_s),
            step_bytes,
            read_bytes_per_s: read_bytes_per_s.round(),
            floor_ms: rounded(step_bytes as f64 / read_bytes_per_s * 1e3),
            threads,
            instruction_set: level,
        };
        let text = serde_json::to_string(&line).expect("numbers and text serialise");
        writeln!(stdout(), "{text}").map_err(io("print the figures"))?;
    }
    bench.engine.handle.drain();
    bench.engine.join();
    Ok(())
}

/// Widens the limits so that the largest batch runs at once, whatever the settings for serving are.
fn room_for(options: &BenchOptions, mut capacity: Capacity) -> Capacity {
    let batch = options.batches.iter().map(|batch| batch.get()).max().unwrap_or(1);
    let sequence_pages = capacity.door.pages_for(options.source_len.get(), options.target_len);
    capacity.door.pages = capacity.door.pages.max((batch + 1) * sequence_pages);
    capacity.door.queued_requests = capacity.door.queued_requests.max(batch as u32);
    capacity.steps.pages = capacity.door.pages;
    capacity.steps.running_rows = capacity.steps.running_rows.max(batch);
    capacity.steps.step_rows = capacity.steps.step_rows.max(batch);
    capacity
}

struct Bench<'a> {
    engine: Engine,
    options: &'a BenchOptions,
    vocab: u64,
    sources_made: u64,
}

impl Bench<'_> {
    /// Medians of the seconds to the first tokens, and to the last ones.
    fn measure(&mut self, batch: usize) -> Result<(f64, f64), CommandError> {
        let (mut first, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            first.push(self.run(batch, 1)?);
            whole.push(self.run(batch, self.options.target_len)?);
        }
        Ok((median(first), median(whole)))
    }

    /// Seconds for `batch` new sources and `target_len` tokens of each.
    fn run(&mut self, batch: usize, target_len: usize) -> Result<f64, CommandError> {
        let handle = self.engine.handle.clone();
        let sources: Vec<Vec<u32>> = (0..batch).map(|_| self.new_source()).collect();
        let began = Instant::now();
        let mut generations = Vec::with_capacity(batch);
        for source in sources {
            generations.push(handle.submit(handle.reserve(1)?, request(source, target_len as u32))?);
        }
        for generation in &mut generations {
            while let Some(event) = generation.blocking_next() {
                if let GenerationEvent::Failed { message, .. } = event {
                    return Err(CommandError::Failed { message });
                }
            }
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// Ids that no earlier source had in this order (SplitMix64).
    fn new_source(&mut self) -> Vec<u32> {
        self.sources_made += 1;
        let mut state = self.sources_made << 32;
        let plain_ids = self.vocab.saturating_sub(FIRST_PLAIN_ID).max(1);
        let mut id = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((FIRST_PLAIN_ID + (mixed >> 27) % plain_ids) % self.vocab) as u32
        };
        (0..self.options.source_len.get()).map(|_| id()).collect()
    }
}

fn request(source: Vec<u32>, max_tokens: u32) -> GenerationRequest {
    GenerationRequest {
        source,
        decoder_prompt: Vec::new(),
        choices: 1,
        max_tokens,
        min_tokens: 0,
        ignore_end: true,
        sampling: Sampling::GREEDY,
        log_probs: None,
        score_prompt: false,
    }
}

fn engine_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "encdec-f32",
        Precision::Bf16 => "encdec-bf16",
    }
}

fn shape_name(config: &Config) -> &str {
    match &config.model.source {
        ModelSource::Shape(name) => name,
        ModelSource::Demo | ModelSource::Checkpoint(_) => &config.model.served_name,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Three decimals: enough for a comparison, short enough to read.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
