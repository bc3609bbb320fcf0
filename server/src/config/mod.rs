//! The settings of a process, complete and checked, from `config.toml`, a file and flags.
//!
//! Called once by `main` (through `cli`); everything else receives a [`Config`] or parts of one. Reads no
//! environment, loads no model.

mod access;
mod batches;
mod checkpoint_name;
mod environment;
mod error;
mod forms;
mod hub;
mod hub_id;
mod layers;
mod limits;
mod model_choice;
mod names;
mod proxies;
mod reader;
mod server;
mod telemetry;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use toml::Table;

pub use access::{AccessConfig, MetricsAccess};
pub use batches::BatchesConfig;
pub use checkpoint_name::CheckpointName;
pub use environment::Environment;
pub use error::{ConfigError, Fault, KeyValue, Problem};
pub use forms::FormLimits;
pub use hub::{HubConfig, HubToken};
pub use hub_id::HubId;
pub use layers::Layer;
pub use limits::Limits;
pub use model_choice::{
    CROSS_KVS, ChatTemplateSource, CrossKv, DEVICES, DTYPES, Device, GenerationConfig, ModelChoice, ModelSource,
    QUANTIZATIONS, Quantize, SCHEMES, Speculation, TokenizerSource,
};
use names::TakenNames;
pub use proxies::Proxies;
use reader::Reader;
pub use server::{LOG_LEVELS, LogFormat, ServerConfig};
pub use telemetry::TelemetryConfig;

/// The documented defaults, as the repository's `config.toml`.
pub const DEFAULTS: &str = include_str!("../../../config.toml");
/// Values of `limits.page_pool_fit`.
pub const POOL_FITS: [(&str, PoolFit); 2] = [("refuse", PoolFit::Refuse), ("shrink", PoolFit::Shrink)];

const DEFAULTS_ORIGIN: &str = "built-in config.toml";
const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Every setting of a model and of the process that runs it, within its range and consistent with the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The process and its socket.
    pub server: ServerConfig,
    /// Who may ask, and over what.
    pub access: AccessConfig,
    /// Files and batches.
    pub batches: BatchesConfig,
    /// The model that runs, and its arithmetic.
    pub model: ModelChoice,
    /// Settings of GPUs.
    pub cuda: CudaConfig,
    /// Bounds beyond which requests are refused or wait.
    pub limits: Limits,
    /// Where checkpoints are fetched from.
    pub hub: HubConfig,
    /// Names of metrics.
    pub telemetry: TelemetryConfig,
}

/// The settings of each model of a process, at least one, the default model first. They differ in `model`, `cuda` and
/// those limits that concern an engine; everything else is equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Configs(Vec<Config>);

/// Settings of GPUs. `config.toml` has the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaConfig {
    /// Whether the tokens of a request are the same in any batch.
    pub deterministic: bool,
    /// Whether a kernel of a step may begin before the previous one is done.
    pub overlap_kernels: bool,
    /// Numbers of decoder rows that a step is padded to, ascending; a step with more rows than all of them is padded to
    /// `limits.step_rows`.
    pub step_row_buckets: Vec<usize>,
    /// Longest source, in tokens, whose steps are captured at the start.
    pub step_source_tokens: usize,
    /// Longest target, in tokens, whose steps are captured at the start.
    pub step_target_tokens: usize,
}

/// Reaction to a page pool that does not fit into the memory limit of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolFit {
    /// The server does not start.
    Refuse,
    /// The pool is made smaller.
    Shrink,
}

impl Configs {
    /// Resolves the defaults, then the file that `environment` names, then `file`, then the other settings of
    /// `environment`, then `flags`, of which later ones win, and checks them as a whole.
    ///
    /// # Errors
    /// When a file cannot be read, or a setting cannot be used.
    pub fn resolve(file: Option<&Path>, environment: &Environment, flags: Vec<Table>) -> Result<Self, ConfigError> {
        let mut layers = Vec::new();
        for path in environment.config.as_deref().into_iter().chain(file) {
            let text = model::input::read_settings(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            layers.push(Layer::parse(&path.display().to_string(), &text)?);
        }
        layers.push(environment.layer());
        layers.extend(flags.into_iter().map(|table| Layer { origin: "command line".to_owned(), table }));
        Self::from_layers(layers, environment)
    }

    /// Resolves the defaults and `layers`, of which later ones win.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn from_layers(mut layers: Vec<Layer>, environment: &Environment) -> Result<Self, ConfigError> {
        layers.insert(0, Layer::parse(DEFAULTS_ORIGIN, DEFAULTS)?);
        let (mut problems, mut unread) = (Vec::new(), BTreeSet::new());
        let (mut configs, mut taken) = (Vec::new(), TakenNames::default());
        for settings in layers::merge(&layers, &mut problems) {
            let mut reader = Reader::new(settings, problems);
            let config = Config {
                server: ServerConfig::read(&mut reader),
                access: AccessConfig::read(&mut reader, environment),
                batches: BatchesConfig::read(&mut reader),
                model: ModelChoice::read(&mut reader),
                cuda: CudaConfig::read(&mut reader),
                limits: Limits::read(&mut reader),
                hub: HubConfig::read(&mut reader, environment),
                telemetry: TelemetryConfig::read(&mut reader),
            };
            taken.take(&config.model, &mut reader);
            configs.push(config);
            (problems, unread) = reader.finish();
        }
        debug_assert!(unread.is_empty(), "keys of config.toml that nothing reads: {unread:?}");
        if problems.is_empty() { Ok(Self(configs)) } else { Err(ConfigError::Invalid { problems }) }
    }

    /// The settings of the default model; those that do not concern a model hold for all of them.
    pub fn first(&self) -> &Config {
        &self.0[0]
    }

    /// The settings of each model, the default one first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Config> {
        self.0.iter()
    }

    /// These settings, under which no request is shed for having to wait: nobody waits at the other end.
    #[must_use]
    pub fn patient(&self, patience: Duration) -> Self {
        let mut configs = self.0.clone();
        for Config { limits, .. } in &mut configs {
            limits.queue_timeout = patience;
            limits.wait.usual = patience;
            limits.client_tokens_per_minute = 0;
        }
        Self(configs)
    }

    /// Checks that there is one model, for a command that runs one.
    ///
    /// # Errors
    /// When there are several.
    pub fn check_only(&self) -> Result<(), ConfigError> {
        match &self.0[..] {
            [_] => Ok(()),
            several => Err(ConfigError::SeveralModels {
                names: several.iter().map(|config| config.model.served_name.clone()).collect(),
            }),
        }
    }
}

impl Config {
    /// The settings of a process with one model, from the defaults and `layers`, of which later ones win.
    ///
    /// # Errors
    /// When a setting cannot be used, or there are several models.
    pub fn from_layers(layers: Vec<Layer>) -> Result<Self, ConfigError> {
        let mut configs = Configs::from_layers(layers, &Environment::default())?;
        configs.check_only()?;
        Ok(configs.0.remove(0))
    }
}

impl Layer {
    /// The settings in a file's text.
    pub fn parse(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let table = text.parse().map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            ConfigError::Syntax {
                origin: origin.to_owned(),
                line: 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count(),
                message: error.message().to_owned(),
            }
        })?;
        Ok(Self { origin: origin.to_owned(), table })
    }
}

impl CudaConfig {
    fn read(reader: &mut Reader) -> Self {
        Self {
            deterministic: reader.flag("cuda.deterministic"),
            overlap_kernels: reader.flag("cuda.overlap_kernels"),
            step_row_buckets: reader.ascending("cuda.step_row_buckets", 1..=65_536),
            step_source_tokens: reader.integer("cuda.step_source_tokens", 1..=1_048_576),
            step_target_tokens: reader.integer("cuda.step_target_tokens", 1..=1_048_576),
        }
    }
}

#[cfg(test)]
mod tests;
