//! Opens the checkpoint of an evaluation as the kind it is.

use model::checkpoint::architecture_of;
use model::config::{Architecture, Stacks};

use super::classified::Classified;
use super::served::Served;
use super::subject::Subject;
use super::trained::Trained;
use crate::commands::error::CommandError;
use crate::config::{Config, Device, ModelSource};
use crate::loading::{LoadError, fetched};

/// Loads the checkpoint that the settings name.
///
/// # Errors
/// When it cannot be loaded, or not on the device that the settings name.
pub fn open(config: &Config) -> Result<Box<dyn Subject>, CommandError> {
    let config = &*fetched(config)?;
    let ModelSource::Checkpoint(folder) = &config.model.source else { return Ok(Box::new(Served::start(config)?)) };
    let Architecture { stacks, causal_encoder, .. } = architecture_of(folder)?;
    let is_served = stacks == Stacks::EncoderDecoder && !causal_encoder;
    if !is_served && config.model.device == Device::Cuda {
        return Err(LoadError::OnlyProcessor { origin: folder.display().to_string() }.into());
    }
    Ok(match stacks {
        _ if is_served => Box::new(Served::start(config)?),
        Stacks::Encoder if !causal_encoder => Box::new(Classified::load(config, folder)?),
        _ => Box::new(Trained::open(config, folder)?),
    })
}
