//! The plain bench: a JSON line for each batch size.
//!
//! Called by `bench`. Keys are those of the comparison scripts for other engines.

use serde::Serialize;

use super::conditions::model_name;
use super::figures::BenchFigures;
use super::measure::Bench;
use super::print::print_json;
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::Config;

#[derive(Debug, Serialize)]
struct Line<'a> {
    engine: String,
    shape: &'a str,
    source: usize,
    target: usize,
    #[serde(flatten)]
    figures: &'a BenchFigures,
    cross_kv: &'a str,
    threads: usize,
    instruction_set: &'a str,
}

/// Measures and prints one batch size after the other.
///
/// # Errors
/// When the model cannot be loaded, or the lengths exceed it.
pub fn lines(config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
    let mut bench = Bench::start(config, options)?;
    for batch in options.batches() {
        print_json(&Line {
            engine: format!("encdec-{}", bench.arithmetic()),
            shape: model_name(config),
            source: options.source_len.get(),
            target: options.target_len,
            figures: &bench.measure(batch)?,
            cross_kv: bench.cross_kv(),
            threads: config.model.threads,
            instruction_set: bench.instruction_set(),
        })?;
    }
    bench.end();
    Ok(())
}
