//! `server bench`: the engine's own speed, without HTTP, against what the memory allows.
//!
//! Called by `main`. Plain, it prints one JSON line for each batch size; `--sweep` compares every arithmetic and writes
//! a report, `--profile` shows where the time goes, `--mixed` runs what a busy server runs. Nothing here knows how a model computes.

mod driver;
mod machine;
mod measure;
mod mixed;
mod plot;
mod profile;
mod report;
mod sweep;
mod table;
mod variant;

use std::io::{Write, stdout};

use serde::Serialize;

use super::{CommandError, io};
use crate::cli::{BenchKind, BenchOptions};
use crate::config::{Config, ModelSource};
use crate::process::resources::{ENGINE_THREADS, check_command};
use measure::{Bench, Figures};

/// One batch size's figures; keys as in the comparison scripts for other engines.
#[derive(Debug, Serialize)]
struct Line<'a> {
    engine: String,
    shape: &'a str,
    source: usize,
    target: usize,
    #[serde(flatten)]
    figures: &'a Figures,
    cross_kv: &'a str,
    threads: usize,
    instruction_set: &'a str,
}

/// Measures what `options` ask for; `command_line` is how the process was asked, for the report.
///
/// # Errors
/// When a model cannot be loaded, the lengths exceed it, or the report cannot be written.
pub fn bench(config: &Config, options: &BenchOptions, command_line: &str) -> Result<(), CommandError> {
    check_command(config.model.threads + ENGINE_THREADS + mixed::THREADS)?;
    match options.kind() {
        BenchKind::Lines => lines(config, options),
        BenchKind::Sweep => sweep::sweep(config, options, command_line),
        BenchKind::Profile => profile::profile(config, options),
        BenchKind::Mixed(requests) => mixed::mixed(config, requests),
    }
}

fn lines(config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
    let mut bench = Bench::start(config, options)?;
    for batch in options.batches() {
        let line = Line {
            engine: format!("encdec-{}", bench.arithmetic()),
            shape: model_name(config),
            source: options.source_len.get(),
            target: options.target_len,
            figures: &bench.measure(batch)?,
            cross_kv: bench.cross_kv(),
            threads: config.model.threads,
            instruction_set: bench.instruction_set(),
        };
        let text = serde_json::to_string(&line).expect("numbers and text serialise");
        print(&text)?;
    }
    bench.end();
    Ok(())
}

/// What is measured, in one word.
fn model_name(config: &Config) -> &str {
    match &config.model.source {
        ModelSource::Shape(name) => name,
        ModelSource::Demo | ModelSource::Checkpoint(_) => &config.model.served_name,
    }
}

fn print(line: &str) -> Result<(), CommandError> {
    writeln!(stdout(), "{line}").map_err(io("print the figures"))
}
