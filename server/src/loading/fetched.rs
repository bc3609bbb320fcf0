//! Checkpoints that are named by their ids on the hub become folders.

use std::borrow::Cow;

use crate::config::{Config, ModelSource};
use crate::hub::{self, HubError};

/// Settings whose checkpoint is on this machine: those given, or a copy that names the folder which was fetched.
///
/// # Errors
/// When the checkpoint cannot be fetched.
pub fn fetched(config: &Config) -> Result<Cow<'_, Config>, HubError> {
    let ModelSource::Hub(id) = &config.model.source else { return Ok(Cow::Borrowed(config)) };
    let folder = hub::fetch(&config.hub, id)?;
    let mut local = config.clone();
    local.model.source = ModelSource::Checkpoint(folder);
    Ok(Cow::Owned(local))
}
