//! Everything of a start that takes time: the models, their pages, their engines, and a first request of each.
//!
//! Called by `serve`, on a thread of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::scheme;
use super::start_message::{Example, ModelMessage, StartMessage};
use crate::api::Entrance;
use crate::commands::error::CommandError;
use crate::config::{Config, Configs};
use crate::engine::{EngineLimits, self_test};
use crate::http_server::{Deployment, ModelToServe};
use crate::loading::{LoadError, LoadedModel, OfModel, all_of, fit};
use crate::process::memory::MemoryBounds;

/// Starts all models. What fails for one of them is told together with what fails for the others.
///
/// # Errors
/// When any model cannot be served: the others alone would be a server that is ready and lacks a model.
pub fn start(
    configs: &Configs,
    address: SocketAddr,
    entrance: Entrance,
    trial_program: Option<PathBuf>,
) -> Result<(Deployment, StartMessage), CommandError> {
    let loaded = LoadedModel::load_all(configs)?;
    let limits = configs.iter().zip(&loaded).map(|(config, loaded)| of(config, loaded.limits(config)));
    let mut limits = all_of(limits)?;
    fit(&loaded, &mut limits, &configs.first().limits, &MemoryBounds::read())?;
    let message = |((config, loaded), limits)| message_of(config, loaded, limits);
    let models: Vec<_> = configs.iter().zip(&loaded).zip(&limits).map(message).collect();
    let example = Example { takes_text: loaded[0].tokenizer().is_some(), generates: limits[0].generates() };
    let config = configs.first();
    let needs_key = config.access.credentials.keys.any();
    let message = StartMessage { scheme: scheme(config), needs_key, address, models, example };
    let to_serve = configs.iter().zip(loaded).zip(limits).map(|((config, loaded), limits)| {
        let (name, aliases) = (config.model.served_name.clone(), config.model.aliases.clone());
        ModelToServe { name, aliases, loaded, limits }
    });
    let deployment = Deployment::start(configs.first(), to_serve.collect(), entrance, trial_program)?;
    let served: Vec<_> = deployment.api.models.iter().collect();
    all_of(
        configs.iter().zip(served).map(|(config, model)| {
            of(config, self_test(&model.engine, model.start_token).map_err(LoadError::SelfTest))
        }),
    )?;
    Ok((deployment, message))
}

fn of<T>(config: &Config, result: Result<T, LoadError>) -> OfModel<T> {
    OfModel { name: config.model.served_name.clone(), result }
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
    }
}
