//! The scenario file.
//!
//! Unknown keys are refused, so that a misspelt one is not ignored.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::load::{Load, Sweep};
use super::request_kind::RequestKind;
use crate::error::LoadtestError;

/// A scenario as it stands in its file. [`Scenario::check`] says whether it can be run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Address of the server: `http://host:port` or `https://host`, with a path before `/v1` where there is one.
    pub url: String,
    /// Name of the model; without it, the first that the server lists.
    pub model: Option<String>,
    /// Seed of arrivals, sources, lengths and the mix.
    pub seed: u64,
    /// Seconds after which a request is given up, counted from its sending.
    pub timeout_seconds: f64,
    /// Requests before the measurement, sent one after the other.
    pub warmup_requests: u64,
    /// Address of the server's metrics; without it `/metrics` beside the API, and with `off` none.
    pub metrics: Option<String>,
    /// When requests are sent.
    pub load: Load,
    /// Search for the highest rate that the server keeps up with, instead of one load.
    pub sweep: Option<Sweep>,
    /// Kinds of requests in the mix.
    pub requests: Vec<RequestKind>,
    /// Limits under which an answer counts as good.
    pub goodput: Goodput,
    /// Limits of the run's figures, such as `p99_ttft_ms = "<= 200"`.
    pub thresholds: BTreeMap<String, String>,
}

/// Limits under which an answer counts as good, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Goodput {
    /// Time to first token.
    pub ttft_ms: Option<f64>,
    /// Time per output token after the first.
    pub tpot_ms: Option<f64>,
    /// Time to the end of the answer.
    pub e2el_ms: Option<f64>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: None,
            seed: 0,
            timeout_seconds: 300.0,
            warmup_requests: 0,
            metrics: None,
            load: Load::default(),
            sweep: None,
            requests: Vec::new(),
            goodput: Goodput::default(),
            thresholds: BTreeMap::new(),
        }
    }
}

impl Scenario {
    /// Reads a scenario from TOML.
    ///
    /// # Errors
    /// A key that is not known, or a value of the wrong kind, with its line.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Reads a scenario file, and gives it with the keys as they stand there. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// A file that cannot be read or parsed.
    pub fn read(path: &Path) -> Result<(Self, toml::Table), LoadtestError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| LoadtestError::ReadFile { path: path.to_owned(), source })?;
        let fault = |source| LoadtestError::ScenarioFile { path: path.to_owned(), source };
        let mut scenario = Self::parse(&text).map_err(fault)?;
        let keys = text.parse().map_err(fault)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in scenario.requests.iter_mut().flat_map(|kind| [&mut kind.prompts, &mut kind.schema]).flatten() {
            *file = folder.join(&*file);
        }
        Ok((scenario, keys))
    }

    /// Time after which a request is given up.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout_seconds)
    }
}
