//! The routes of a server without a socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;

use crate::api::{AccessLog, Entrance, Guard, KeyCheck, batch_router};
use crate::commands::deploy::{DeploymentParts, deploy};
use crate::commands::error::CommandError;
use crate::config::Configs;
use crate::engine::Engine;
use crate::http_server::body_limits;
use crate::process::liveness::Liveness;
use crate::telemetry::Metrics;
use crate::traces::Traces;

/// Nobody waits at the other end, so requests wait for their rows as long as they must.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// Loaded models and their routes.
#[derive(Debug)]
pub struct Routes {
    /// The routes.
    pub router: Router,
    /// They run as long as the routes are asked.
    _engines: Vec<Engine>,
}

impl Routes {
    /// Loads the models and starts them.
    ///
    /// # Errors
    /// When one of them cannot be served.
    pub fn start(configs: &Configs, trial_program: Option<PathBuf>, runtime: &Runtime) -> Result<Self, CommandError> {
        let _inside = runtime.enter();
        let configs = &configs.patient(PATIENCE);
        let shared = configs.first();
        let models: Vec<_> = configs.iter().map(|config| config.model.served_name.as_str()).collect();
        let entrance = Entrance {
            metrics: Metrics::of_models(&models),
            guard: Arc::new(Guard::default()),
            probe_guard: Arc::default(),
            keys: KeyCheck::default(),
            access_log: AccessLog::off(),
            body: body_limits(&shared.limits),
            liveness: Liveness::default(),
            traces: Traces::default(),
            serves_page: false,
        };
        let parts = DeploymentParts { shared, entrance, trial_program };
        let (deployment, _) = deploy(configs, parts, |_, _, _| ())?;
        Ok(Self { router: batch_router(deployment.api), _engines: deployment.engines })
    }
}
