//! From settings to models in service: loaded, fitted into memory, started, and asked once.
//!
//! Used by the commands that answer requests as the server does. Takes time: it runs on a thread of its own.

use std::path::PathBuf;

use super::error::CommandError;
use crate::api::Entrance;
use crate::config::{Config, Configs};
use crate::engine::{EngineLimits, self_test};
use crate::http_server::{Deployment, ModelToServe};
use crate::loading::{LoadError, LoadedModel, OfModel, all_of, fit};
use crate::process::memory::MemoryBounds;

/// Parts of a deployment beside the models' settings.
pub struct DeploymentParts<'a> {
    /// Settings that hold for all models.
    pub shared: &'a Config,
    /// Checks before all routes.
    pub entrance: Entrance,
    /// The program whose processes try grammars; without one they are trusted.
    pub trial_program: Option<PathBuf>,
}

/// Starts all models. Each of them is described by `describe` before it starts. What fails for one of them is told
/// together with what fails for the others.
///
/// # Errors
/// When any model cannot be served: the others alone would be a server that is ready and lacks a model.
pub fn deploy<T>(
    configs: &Configs,
    parts: DeploymentParts<'_>,
    describe: impl Fn(&Config, &LoadedModel, &EngineLimits) -> T,
) -> Result<(Deployment, Vec<T>), CommandError> {
    let DeploymentParts { shared, entrance, trial_program } = parts;
    let loaded = LoadedModel::load_all(configs)?;
    let limits = configs.iter().zip(&loaded).map(|(config, loaded)| of(config, loaded.limits(config)));
    let mut limits = all_of(limits)?;
    fit(&loaded, &mut limits, &shared.limits, &MemoryBounds::read())?;
    let models = configs.iter().zip(&loaded).zip(&limits);
    let described = models.map(|((config, loaded), limits)| describe(config, loaded, limits)).collect();
    let to_serve = configs.iter().zip(loaded).zip(limits).map(|((config, loaded), limits)| {
        let (name, aliases) = (config.model.served_name.clone(), config.model.aliases.clone());
        ModelToServe { name, aliases, loaded, limits }
    });
    let deployment = Deployment::start(shared, to_serve.collect(), entrance, trial_program)?;
    let served: Vec<_> = deployment.api.models.iter().collect();
    all_of(
        configs.iter().zip(served).map(|(config, model)| {
            of(config, self_test(&model.engine, model.start_token).map_err(LoadError::SelfTest))
        }),
    )?;
    Ok((deployment, described))
}

fn of<T>(config: &Config, result: Result<T, LoadError>) -> OfModel<T> {
    OfModel { name: config.model.served_name.clone(), result }
}
