//! Errors that end the program. Faults of single answers are figures of the run instead.

use std::path::PathBuf;

use thiserror::Error;

/// An error of the program, each with what to do.
#[derive(Debug, Error)]
pub enum LoadtestError {
    /// A scenario that cannot be run.
    #[error("the scenario cannot be run:\n  {}", faults.join("\n  "))]
    Scenario {
        /// Every fault.
        faults: Vec<String>,
    },
    /// A scenario file that is no scenario.
    #[error("{} is no scenario; docs/loadtest.md lists its keys", path.display())]
    ScenarioFile {
        /// The file.
        path: PathBuf,
        /// Line and fault.
        source: toml::de::Error,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: choose another path or make room", path.display())]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file whose content is not what it has to be.
    #[error("{}: {fault}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, fault and remedy.
        fault: String,
    },
    /// A flag whose value is not understood.
    #[error("--{flag}: {fault}")]
    Flag {
        /// The flag without its dashes.
        flag: &'static str,
        /// Fault and remedy.
        fault: String,
    },
    /// An address that is none.
    #[error("{url} is no address of a server: {fault}")]
    Address {
        /// The address.
        url: String,
        /// Fault and remedy.
        fault: String,
    },
    /// A server that cannot be asked at all.
    #[error("{url} does not answer ({fault}): start the server, or correct --url")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        fault: String,
    },
    /// A server that names no model, where the scenario names none either.
    #[error("{url} lists no model ({fault})")]
    NoModel {
        /// The address.
        url: String,
        /// The answer, and the remedy.
        fault: String,
    },
    /// A server whose answers before the measurement were not whole.
    #[error("{url} does not answer as it should ({fault}): correct the request or the server")]
    WarmUp {
        /// The address.
        url: String,
        /// Class and detail.
        fault: String,
    },
    /// A chart that could not be drawn.
    #[error("the chart could not be drawn: {fault}")]
    Chart {
        /// Why.
        fault: String,
    },
    /// The process's resources.
    #[error("the program cannot start")]
    Start {
        /// Why.
        source: std::io::Error,
    },
}

impl LoadtestError {
    /// Whether the command line or a file that it names is at fault.
    pub fn is_misuse(&self) -> bool {
        matches!(
            self,
            Self::Scenario { .. }
                | Self::ScenarioFile { .. }
                | Self::ReadFile { .. }
                | Self::Content { .. }
                | Self::Flag { .. }
                | Self::Address { .. }
        )
    }
}

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
