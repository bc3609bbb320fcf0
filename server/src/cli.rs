//! The command line: flags and subcommands, turned into [`Configs`] and a [`Command`].
//!
//! Called by `main` only, which gives it what it needs of the environment. Opens no file but the one that `--config`
//! names. Each command's flags are a file of their own.

mod adapt;
mod batch;
mod bench;
mod check;
mod eval;
mod generate;
mod key;
mod model_flags;
mod pull;
mod quantize;
mod serve;
mod settings;
#[cfg(test)]
mod tests;
mod train;

use clap::{Parser, Subcommand};

pub use adapt::AdaptOptions;
pub use batch::BatchOptions;
pub use bench::{BenchKind, BenchOptions};
pub use check::CheckOptions;
pub use eval::{EvalOptions, Metric, ObjectiveChoice};
pub use generate::{AnswerForm, GenerateOptions};
pub use key::KeyOptions;
pub use pull::PullOptions;
pub use quantize::QuantizeOptions;
pub use train::TrainOptions;

use crate::config::{ConfigError, Configs, Environment};
use check::CheckFlags;
use model_flags::WithModel;
use pull::PullFlags;
use quantize::QuantizeFlags;
use serve::ServeFlags;
use settings::{FlagSettings, LogFlags};

/// Serves T5Gemma over an OpenAI-style HTTP API. Without a command: serve.
#[derive(Debug, Parser)]
#[command(name = "server", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    serve: ServeFlags,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Answer HTTP requests until SIGTERM.
    Serve(ServeFlags),
    /// Answer a file of requests, in OpenAI's batch format; goes on where an earlier run of it was stopped.
    Batch(WithModel<BatchOptions>),
    /// Write one continuation to standard output.
    Generate(WithModel<GenerateOptions>),
    /// Make an API key: prints its secret, and the line that the server needs to know it.
    Key(KeyOptions),
    /// Measure encoder and decoder without HTTP; prints JSON lines, or tables.
    Bench(WithModel<BenchOptions>),
    /// Ask a running server whether it accepts requests; exits with 0 if it does.
    Check(CheckFlags),
    /// Fetch a checkpoint from the hub and print its folder.
    Pull(PullFlags),
    /// Write a quantised copy of a checkpoint.
    Quantize(QuantizeFlags),
    /// Make an encoder-decoder of decoder-only Gemma 2 checkpoints.
    Adapt(WithLog<AdaptOptions>),
    /// Train a model as a settings file describes it, or go on with a run that was stopped.
    Train(WithLog<TrainOptions>),
    /// Measure a checkpoint's answers to the rows of a file.
    Eval(WithModel<EvalOptions>),
    /// Compile the grammar on standard input: the server asks this of a process that may fail.
    #[command(hide = true)]
    TryGrammar,
}

/// Flags of a command that runs no model.
#[derive(Debug, clap::Args)]
struct WithLog<Options: clap::Args> {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    log: LogFlags,
}

/// The command to run; its settings are [`Configs`].
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Answer HTTP requests.
    Serve,
    /// Answer a file of requests.
    Batch(BatchOptions),
    /// Write one continuation.
    Generate(GenerateOptions),
    /// Make an API key.
    Key(KeyOptions),
    /// Measure speed.
    Bench(BenchOptions),
    /// Ask a running server.
    Check(CheckOptions),
    /// Fetch a checkpoint.
    Pull(PullOptions),
    /// Write a quantised checkpoint.
    Quantize(QuantizeOptions),
    /// Make an encoder-decoder.
    Adapt(AdaptOptions),
    /// Train.
    Train(TrainOptions),
    /// Measure answers.
    Eval(EvalOptions),
    /// Compile a grammar on trial.
    TryGrammar,
}

impl Cli {
    /// The command with all settings: defaults, file, environment and flags in that order.
    ///
    /// # Errors
    /// When the file cannot be read, a setting cannot be used, or a command that runs one model is given several.
    pub fn resolve(self, environment: &Environment) -> Result<(Command, Configs), ConfigError> {
        let mut settings = FlagSettings::default();
        let command = match self.command.unwrap_or(Subcommands::Serve(self.serve)) {
            Subcommands::Serve(flags) => {
                flags.set(&mut settings);
                Command::Serve
            }
            Subcommands::Batch(flags) => Command::Batch(flags.set(&mut settings)),
            Subcommands::Generate(flags) => Command::Generate(flags.set(&mut settings)),
            Subcommands::Key(options) => Command::Key(options),
            Subcommands::Bench(flags) => Command::Bench(flags.set(&mut settings)),
            Subcommands::Eval(flags) => Command::Eval(flags.set(&mut settings)),
            Subcommands::Check(flags) => Command::Check(flags.set(&mut settings)),
            Subcommands::Pull(flags) => Command::Pull(flags.set(&mut settings)),
            Subcommands::Quantize(flags) => Command::Quantize(flags.set(&mut settings)),
            Subcommands::Adapt(flags) => Command::Adapt(flags.set(&mut settings)),
            Subcommands::Train(flags) => Command::Train(flags.set(&mut settings)),
            Subcommands::TryGrammar => Command::TryGrammar,
        };
        let FlagSettings { file, models, flags } = settings;
        let configs = Configs::resolve(file.as_deref(), environment, [models, flags].into())?;
        // What is pulled has an id of its own, and a server that is asked has its models.
        if !matches!(command, Command::Serve | Command::Batch(_) | Command::Check(_) | Command::Pull(_)) {
            configs.check_only()?;
        }
        Ok((command, configs))
    }
}

impl<Options: clap::Args> WithLog<Options> {
    fn set(self, settings: &mut FlagSettings) -> Options {
        self.log.set(settings);
        self.options
    }
}
