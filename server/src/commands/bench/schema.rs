//! `server bench --schema`: answers in the form of a JSON schema against as many free tokens.
//!
//! Tokens are drawn evenly from what may come next, so that an answer walks through all of its form; a free answer is
//! drawn in the same way from all ids. An answer that ends early is followed by no other, so tokens a second are
//! compared: schemas whose answers are longer than `--target` keep all rows busy.

use std::sync::Arc;

use kernels::Sampling;
use serde::Serialize;
use serde_json::Value;

use super::conditions::Subject;
use super::driver::{Counted, Driver, request, room_for};
use super::measure::{REPEATS, median, rounded};
use super::print::print_json;
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::constraint::{Grammar, Vocabulary};
use crate::loading::{Loaded, load};
use crate::request::{Constraint, GenerationRequest};

/// Makes all ids that may be chosen about equally likely.
const EVEN: f32 = 1e6;

#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    subject: &'a Subject<'a>,
    batch: usize,
    /// Tokens a second under the schema, encoders included.
    schema_tokens_per_s: f64,
    /// Tokens a second without.
    free_tokens_per_s: f64,
    /// The first divided by the second.
    ratio: f64,
    /// Share of the tokens that answers under the schema have of those that were asked for.
    filled: f64,
    /// Masks that came after their draws.
    late_masks: u64,
}

/// Measures and prints one batch size after the other.
///
/// # Errors
/// When the schema cannot be read or served, the model has no tokenizer or cannot be loaded, or the lengths exceed it.
pub fn schema(config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
    let loaded = load(config)?;
    let constraint = constraint(options, &loaded)?;
    let limits = room_for(options, loaded.limits(config)?)?;
    let subject = Subject::new(config, &loaded, options);
    let vocab = loaded.config().encoder.vocab;
    let metrics = Arc::<crate::telemetry::EngineMetrics>::default();
    let mut driver = Driver::start(loaded.start(limits, Arc::clone(&metrics))?, options, vocab)?;
    for batch in options.batches() {
        let late_before = metrics.late_masks.get();
        let (mut formed, mut free) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            let drawn = |source| drawn(source, options.target_len);
            let form = Some(constraint.clone());
            let with_form = |source| GenerationRequest { constraint: form.clone(), ignore_end: false, ..drawn(source) };
            formed.push(driver.count_each(batch, with_form)?);
            free.push(driver.count_each(batch, drawn)?);
        }
        let tokens: usize = formed.iter().map(|one| one.tokens).sum();
        let [schema_tokens_per_s, free_tokens_per_s] = [speed(&formed), speed(&free)];
        print_json(&Line {
            subject: &subject,
            batch,
            schema_tokens_per_s: rounded(schema_tokens_per_s),
            free_tokens_per_s: rounded(free_tokens_per_s),
            ratio: rounded(schema_tokens_per_s / free_tokens_per_s),
            filled: rounded(tokens as f64 / (REPEATS * batch * options.target_len) as f64),
            late_masks: metrics.late_masks.get() - late_before,
        })?;
    }
    driver.end();
    Ok(())
}

/// The constraint that the schema is for this model.
fn constraint(options: &BenchOptions, loaded: &Loaded) -> Result<Constraint, CommandError> {
    let failed = |message: String| CommandError::Failed { message };
    let path = options.schema.as_ref().ok_or_else(|| failed("no schema is given: give --schema FILE".into()))?;
    let text = std::fs::read(path).map_err(|error| failed(format!("{} cannot be read: {error}", path.display())))?;
    let schema: Value =
        serde_json::from_slice(&text).map_err(|error| failed(format!("{} is no JSON: {error}", path.display())))?;
    let no_tokenizer = || failed("a schema needs a tokenizer: give --tokenizer FILE".into());
    let tokenizer = loaded.tokenizer.as_ref().ok_or_else(no_tokenizer)?;
    let config = loaded.config();
    let vocabulary = Vocabulary::new(tokenizer, config.decoder.vocab, &config.end_tokens);
    Grammar::JsonSchema(schema).compile(&vocabulary).map_err(|error| failed(error.to_string()))
}

/// A request for tokens that are drawn from all that may come next.
fn drawn(source: Vec<u32>, tokens: usize) -> GenerationRequest {
    let seed = source.iter().map(|&id| u64::from(id)).sum();
    let sampling = Sampling { temperature: EVEN, seed, ..Sampling::GREEDY };
    GenerationRequest { sampling, ..request(source, tokens as u32) }
}

fn speed(runs: &[Counted]) -> f64 {
    median(runs.iter().map(|one| one.tokens as f64 / one.time.as_secs_f64()).collect())
}
