//! Why a command failed.
//!
//! Returned by every command. `main` turns it into a line on standard error and an exit code.

use std::path::PathBuf;

use kernels::Scheme;
use model::scheme_name;
use plotters::drawing::DrawingAreaErrorKind;

use super::check::CheckError;
use super::eval::error::EvalError;
use super::train::settings::SettingsError;
use crate::access::AccessError;
use crate::batch::BatchError;
use crate::constraint::{GrammarError, TargetsError};
use crate::hub::HubError;
use crate::loading::LoadError;
use crate::process::resources::ShortOf;
use crate::request::Refusal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A checkpoint, a tokenizer or a text cannot be used.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// No answer can have the form that was asked for.
    #[error("the answer's form cannot be used")]
    Grammar(#[from] GrammarError),
    /// One of the texts to choose from cannot be an answer.
    #[error("--choice cannot be used")]
    Targets(#[from] TargetsError),
    /// A file is not JSON.
    #[error("{} is not JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        source: serde_json::Error,
    },
    /// Keys or certificate cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The address is taken or not one of this machine.
    #[error("cannot listen on {host}:{port}: choose another with --host and --port")]
    Listen {
        /// Host asked for.
        host: String,
        /// Port asked for.
        port: u16,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The address for probes is taken, not one of this machine or malformed.
    #[error("cannot listen on {address} for probes: server.probe_address must be HOST:PORT of a free port here")]
    ListenForProbes {
        /// Address that the settings name.
        address: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The system allows fewer threads or descriptors than the command needs.
    #[error(transparent)]
    ShortOf(#[from] ShortOf),
    /// A server that was asked whether it accepts requests does not.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The engine's thread has ended.
    #[error("the engine has ended by itself: no request can be answered any more")]
    EngineEnded,
    /// Input or output of the command failed.
    #[error("cannot {action}")]
    Io {
        /// The failed action, as the end of "cannot ...".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The page or the chart of a sweep cannot be written.
    #[error("cannot write the report to {}", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The chart of a sweep cannot be drawn.
    #[error("cannot draw the chart")]
    Chart {
        /// The drawing library's answer.
        source: DrawingAreaErrorKind<std::io::Error>,
    },
    /// A sweep of a checkpoint that is quantised already.
    #[error(
        "{origin} is quantised to {}: a sweep needs the original checkpoint; \
         `server bench` without --sweep measures this one",
        scheme_name(*scheme)
    )]
    QuantizedSweep {
        /// The folder.
        origin: String,
        /// The scheme that it is quantised to.
        scheme: Scheme,
    },
    /// A comparison of drafts with none where there are none.
    #[error(
        "nothing is drafted here, so there is nothing to compare: drafts need the processor as the device, \
         limits.draft_rows above 0 and model.speculation \"auto\""
    )]
    NoDrafts,
    /// A text prompt for a model without a tokenizer.
    #[error("this model has no tokenizer: name one with --tokenizer FILE")]
    NoTokenizer,
    /// A checkpoint cannot be had from the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A text to continue without a source, for a decoder that needs one.
    #[error("--continue is for T5Gemma 2: the decoder of this model needs a source, so give it a prompt")]
    NeedsSource,
    /// A prompt without tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The request is refused by the limits.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The settings of a training run cannot be used.
    #[error(transparent)]
    TrainSettings(#[from] SettingsError),
    /// A training run failed.
    #[error(transparent)]
    Train(#[from] model::training::Error),
    /// An evaluation failed.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The folder of files and batches cannot be used.
    #[error("cannot keep files and batches in {} (batches.folder)", path.display())]
    BatchFolder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A batch did not come to its end.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The engine failed a request.
    #[error("the request failed: {message}")]
    Failed {
        /// The engine's message.
        message: String,
    },
}

impl CommandError {
    /// Whether the command was used wrongly: another file or flag would mend it.
    pub fn is_misuse(&self) -> bool {
        let of_training = |error: &model::training::Error| matches!(error, model::training::Error::Settings { .. });
        match self {
            Self::TrainSettings(SettingsError::Hub(_)) => false,
            Self::TrainSettings(_) | Self::Load(LoadError::Gpu(_) | LoadError::OnlyProcessor { .. }) => true,
            Self::Train(error) => of_training(error),
            _ => false,
        }
    }
}

/// Turns a failure of input or output into an error that names the action.
pub(super) fn io(action: &'static str) -> impl Fn(std::io::Error) -> CommandError {
    move |source| CommandError::Io { action, source }
}
