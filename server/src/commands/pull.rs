//! `server pull`: a checkpoint of the hub, fetched into the folder that all programs with such checkpoints share.
//!
//! Called by `main`. Prints the folder, which `--model` takes as well as the id.

use std::io::{Write, stdout};

use super::error::{CommandError, io};
use crate::cli::PullOptions;
use crate::config::Config;
use crate::hub;

/// Fetches what is not there yet.
///
/// # Errors
/// When the checkpoint cannot be had, or standard output is closed.
pub fn pull(config: &Config, options: &PullOptions) -> Result<(), CommandError> {
    let folder = hub::fetch(&config.hub, &options.id)?;
    writeln!(stdout(), "{}", folder.display()).map_err(io("print the folder"))
}
