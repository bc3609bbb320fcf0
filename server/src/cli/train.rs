//! Flags of `server train`.
//!
//! Part of the command line; read by the command.

use std::path::PathBuf;

use clap::Args;

/// A training run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TrainOptions {
    /// What to train, on what, and where to: docs/training.md has every key
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}
