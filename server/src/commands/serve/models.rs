//! Everything of a start that takes time, and what is said of it.
//!
//! Called by `serve`, on a thread of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::scheme;
use super::start_message::{Example, ModelMessage, StartMessage};
use crate::api::Entrance;
use crate::commands::deploy::{DeploymentParts, deploy};
use crate::commands::error::CommandError;
use crate::config::{Config, Configs};
use crate::engine::EngineLimits;
use crate::http_server::Deployment;
use crate::loading::LoadedModel;

/// Starts all models.
///
/// # Errors
/// Those of [`deploy`].
pub fn start(
    configs: &Configs,
    address: SocketAddr,
    entrance: Entrance,
    trial_program: Option<PathBuf>,
) -> Result<(Deployment, StartMessage), CommandError> {
    let config = configs.first();
    let (deployment, models) =
        deploy(configs, DeploymentParts { shared: config, entrance, trial_program }, message_of)?;
    let first = deployment.api.models.default_model();
    let example = Example { takes_text: first.tokenizer.is_some(), generates: first.limits().generates() };
    let needs_key = config.access.credentials.keys.any();
    let message = StartMessage { scheme: scheme(config), needs_key, address, models, example };
    Ok((deployment, message))
}

fn message_of(config: &Config, loaded: &LoadedModel, limits: &EngineLimits) -> ModelMessage {
    ModelMessage {
        name: config.model.served_name.clone(),
        shape: loaded.facts().size,
        arithmetic: loaded.arithmetic(),
        device: loaded.device(),
        pages: limits.steps.pool.pages,
        source_page_tokens: limits.steps.pool.source_page_tokens,
        page_pool_bytes: limits.steps.pool.pages * loaded.page_bytes(),
        source_tokens: limits.source_tokens,
        target_tokens: limits.target_tokens,
    }
}
