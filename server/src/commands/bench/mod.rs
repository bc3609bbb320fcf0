//! `server bench`: the engine's own speed, without HTTP, against the speed of the memory.
//!
//! Called by `main`. Plain, it prints one JSON line for each batch size. `--sweep` compares every arithmetic and writes
//! a report, `--profile` shows where the time goes, `--beams` compares beam search with sampling, `--controls` shows
//! what each control costs, `--copying` what drafts save, `--schema` what the form of an answer costs, `--mixed` runs
//! the load of a busy server, `--targets` counts the steps of searches among given targets. Nothing here knows how a
//! model computes.

mod beams;
mod conditions;
mod controls;
mod copying;
mod dictated;
mod driver;
mod figures;
mod lines;
mod measure;
mod mixed;
mod plot;
mod print;
mod profile;
mod report;
mod row;
mod schema;
mod sweep;
mod table;
mod targets;
mod variant;
mod watched;

use super::error::CommandError;
use crate::cli::{BenchKind, BenchOptions};
use crate::config::Config;
use crate::process::resources::{ENGINE_THREADS, check_command};

/// Measures as `options` ask; `command_line` is how the process was started, for the report.
///
/// # Errors
/// When a model cannot be loaded, the lengths exceed it, or the report cannot be written.
pub fn bench(config: &Config, options: &BenchOptions, command_line: &str) -> Result<(), CommandError> {
    check_command(config.model.threads + ENGINE_THREADS + mixed::THREADS)?;
    match options.kind() {
        BenchKind::Lines => lines::lines(config, options),
        BenchKind::Sweep => sweep::sweep(config, options, command_line),
        BenchKind::Profile => profile::profile(config, options),
        BenchKind::Beams(width) => beams::beams(config, options, width),
        BenchKind::Controls => controls::controls(config, options),
        BenchKind::Schema => schema::schema(config, options),
        BenchKind::Copying(percent) => copying::copying(config, options, percent),
        BenchKind::Mixed(requests) => mixed::mixed(config, requests),
        BenchKind::Targets(count) => targets::targets(config, count),
    }
}
