//! `server quantize`: a quantised copy of a checkpoint, in a folder of its own.
//!
//! Called by `main`. `model` knows the format and writes the files.

use model::Checkpoint;

use super::error::CommandError;
use crate::cli::QuantizeOptions;
use crate::config::{Config, ModelSource};
use crate::loading::fetched;
use crate::process::progress::LoadProgress;
use crate::process::resources::{check_command, cores};

/// Writes the copy.
///
/// # Errors
/// When there is no checkpoint to copy, the folder is not empty, or a file cannot be written.
pub fn quantize(config: &Config, options: &QuantizeOptions) -> Result<(), CommandError> {
    check_command(cores())?;
    let config = fetched(config)?;
    let source = match &config.model.source {
        ModelSource::Demo => Checkpoint::embedded()?,
        ModelSource::Checkpoint(folder) => Checkpoint::open(folder)?,
        ModelSource::Shape(_) | ModelSource::Hub(_) => unreachable!("it takes no shape, and fetches ids of the hub"),
    };
    let progress = LoadProgress::new("quantising", source.tensor_bytes());
    model::quantize(&source, options.scheme, &options.out, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    Ok(())
}
