//! `server bench --beams`: a step of beam searches against a step that samples as many rows.
//!
//! Both read all logits of every row, and the rows of a search share its source as choices do. The difference is what
//! beam search costs: finding candidates, and copying pages.

use std::sync::Arc;

use kernels::Sampling;
use serde::Serialize;

use super::conditions::Subject;
use super::driver::{Driver, request, room_for};
use super::measure::{REPEATS, median, rounded};
use super::print::print_json;
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::loading::load;
use crate::request::{BeamSearch, EarlyStopping, GenerationRequest};

#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    subject: &'a Subject<'a>,
    beams: u32,
    /// Rows of a step.
    batch: usize,
    /// Time of a step of searches.
    beam_step_ms: f64,
    /// Time of a step of sampled rows.
    sampled_step_ms: f64,
    /// The first divided by the second.
    ratio: f64,
}

/// Measures and prints one batch size after the other.
///
/// # Errors
/// When a batch size is no multiple of the width, the model cannot be loaded, or the lengths exceed it.
pub fn beams(config: &Config, options: &BenchOptions, width: u32) -> Result<(), CommandError> {
    let batches = options.batches();
    if let Some(batch) = batches.iter().find(|&&batch| batch % width as usize != 0) {
        let message = format!("a batch of {batch} rows is no multiple of {width} beams: give --batch multiples of it");
        return Err(CommandError::Failed { message });
    }
    let loaded = load(config)?;
    let limits = room_for(options, loaded.limits(config)?)?;
    let subject = Subject::new(config, &loaded, options);
    let vocab = loaded.config().encoder.vocab;
    let mut driver = Driver::start(loaded.start(limits, Arc::default())?, options, vocab)?;
    for batch in batches {
        let sources = batch / width as usize;
        let beam_step_ms = step_ms(&mut driver, options, sources, |asked| searched(asked, width))?;
        let sampled_step_ms = step_ms(&mut driver, options, sources, |asked| sampled(asked, width))?;
        print_json(&Line {
            subject: &subject,
            beams: width,
            batch,
            beam_step_ms: rounded(beam_step_ms),
            sampled_step_ms: rounded(sampled_step_ms),
            ratio: rounded(beam_step_ms / sampled_step_ms),
        })?;
    }
    driver.end();
    Ok(())
}

/// Median time of a step in which rows of so many sources run, in milliseconds.
pub(super) fn step_ms(
    driver: &mut Driver,
    options: &BenchOptions,
    sources: usize,
    asked: impl Fn(GenerationRequest) -> GenerationRequest,
) -> Result<f64, CommandError> {
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        for (tokens, times) in [(1, &mut first), (options.target_len, &mut whole)] {
            let time = driver.run_each(sources, |source| asked(request(source, tokens as u32)))?;
            times.push(time.as_secs_f64());
        }
    }
    Ok((median(whole) - median(first)) / (options.target_len - 1) as f64 * 1e3)
}

/// The request as a search of this width that goes on to its last token.
fn searched(asked: GenerationRequest, width: u32) -> GenerationRequest {
    let beams = BeamSearch { width, length_penalty: 1.0, early_stopping: EarlyStopping::Impossible };
    GenerationRequest { choices: width, beams: Some(beams), ..asked }
}

/// The request for so many choices, each drawn from all ids.
fn sampled(asked: GenerationRequest, width: u32) -> GenerationRequest {
    let sampling = Sampling { temperature: 1.0, seed: 1, ..Sampling::GREEDY };
    GenerationRequest { choices: width, sampling, ..asked }
}
