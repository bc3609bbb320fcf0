//! Flags of `server train`.

use std::path::PathBuf;

use clap::Args;

/// A training run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TrainOptions {
    /// Settings of the run: docs/training.md has every key.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}
