//! The command line: flags laid over a scenario.

mod flags;
mod replaced;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use flags::RunFlags;

/// Puts load on an OpenAI-style server and measures its answers.
///
/// Exits with 0 when every answer was whole and every limit held, with 1 when not, with 2 when it was used wrongly.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Another task than a run.
    #[command(subcommand)]
    pub task: Option<Task>,
    /// A run.
    #[command(flatten)]
    pub run: RunFlags,
}

/// A task other than a run.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Compares the figures of two runs.
    Compare(CompareFlags),
}

/// Flags of a comparison.
#[derive(Debug, Args)]
pub struct CompareFlags {
    /// JSON file of the earlier run.
    pub before: PathBuf,
    /// JSON file of the later run.
    pub after: PathBuf,
    /// Fails if a throughput is lower or a median or p99 latency higher by more than this many percent.
    #[arg(long, value_name = "PERCENT")]
    pub worse_by: Option<f64>,
}
