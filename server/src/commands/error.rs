//! Why a command failed.
//!
//! Returned by every command; `main` turns it into a line and an exit code.

use std::path::PathBuf;

use kernels::Scheme;
use model::scheme_name;
use plotters::drawing::DrawingAreaErrorKind;

use super::eval::EvalError;
use super::train::SettingsError;
use crate::engine::SelfTestFailed;
use crate::loading::LoadError;
use crate::process::resources::ShortOf;
use crate::request::Refusal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The model cannot be served.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Text that the tokenizer cannot turn into ids.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The address is taken or not ours.
    #[error("cannot listen on {host}:{port}: choose another with --host and --port")]
    Listen {
        /// Host asked for.
        host: String,
        /// Port asked for.
        port: u16,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The address for probes is taken, not ours or no address.
    #[error("cannot listen on {address} for probes: server.probe_address must be HOST:PORT of a free port here")]
    ListenForProbes {
        /// What was asked for.
        address: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The system allows too little.
    #[error(transparent)]
    ShortOf(#[from] ShortOf),
    /// The model does not answer.
    #[error(transparent)]
    SelfTest(#[from] SelfTestFailed),
    /// The engine's thread is gone.
    #[error("the engine has ended by itself: no request can be answered any more")]
    EngineEnded,
    /// Reading the prompt or writing the answer.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The page or the chart of a sweep.
    #[error("cannot write the report to {}", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The chart of a sweep.
    #[error("cannot draw the chart")]
    Chart {
        /// The drawing library's answer.
        source: DrawingAreaErrorKind<std::io::Error>,
    },
    /// A sweep of a checkpoint that has one arithmetic only.
    #[error(
        "{origin} is quantised to {}: a sweep needs the original checkpoint; `server bench` without --sweep measures this one",
        scheme_name(*scheme)
    )]
    QuantizedSweep {
        /// The folder.
        origin: String,
        /// What it is quantised to.
        scheme: Scheme,
    },
    /// A text prompt for a model without a tokenizer.
    #[error("this model has no tokenizer: name one with --tokenizer FILE")]
    NoTokenizer,
    /// A prompt without a token.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The request is too long for the limits.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The settings of a training run.
    #[error(transparent)]
    TrainSettings(#[from] SettingsError),
    /// A training run.
    #[error(transparent)]
    Train(#[from] model::training::Error),
    /// Rows or figures of an evaluation.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The engine gave up on the request.
    #[error("the request failed: {message}")]
    Failed {
        /// What the engine said.
        message: String,
    },
}

impl CommandError {
    /// Whether settings are to blame, which another file or flag would mend.
    pub fn is_misuse(&self) -> bool {
        let of_training = |error: &model::training::Error| matches!(error, model::training::Error::Settings { .. });
        match self {
            Self::TrainSettings(_) | Self::Load(LoadError::Gpu(_) | LoadError::OnlyProcessor { .. }) => true,
            Self::Train(error) => of_training(error),
            _ => false,
        }
    }
}

/// Turns a failure to read or write into an error that says which.
pub(super) fn io(action: &'static str) -> impl Fn(std::io::Error) -> CommandError {
    move |source| CommandError::Io { action, source }
}
