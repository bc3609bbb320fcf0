//! The process: arguments in, exit code out (0 done, 1 failed, 2 used wrongly).
//!
//! The only place that may read the environment. Everything it does is a call into the library.

use std::error::Error;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use server::cli::{Cli, Command};
use server::commands;
use server::config::{Environment, LogFormat, ServerConfig};
use server::process::allocator::OrExit;
use server::process::causes::with_causes;
use server::process::log;
use server::process::service_manager::Notifier;
use server::process::terminal::say;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: OrExit = OrExit;

const FAILURE: u8 = 1;
const MISUSE: u8 = 2;
/// Longest time for the last lines of the log to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let environment =
        Environment::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()));
    let (command, configs) = match Cli::parse().resolve(&environment) {
        Ok(resolved) => resolved,
        Err(error) => return failure(&error, MISUSE),
    };
    let config = configs.first();
    start_log(&config.server);
    log::report_panics();
    if let Err(error) = log::survive_file_limits() {
        return failure(&error, FAILURE);
    }
    tracing::debug!(?command, ?configs, "settings");
    let done = match &command {
        Command::Serve => commands::serve(&configs, &notifier(), Some(program())),
        Command::Batch(options) => commands::batch(&configs, options, Some(program())),
        Command::Generate(options) => commands::generate(config, options),
        Command::Bench(options) => commands::bench(config, options, &command_line()),
        Command::Key(options) => commands::key(options),
        Command::Check(options) => commands::check(config, options),
        Command::Pull(options) => commands::pull(config, options),
        Command::Quantize(options) => commands::quantize(config, options),
        Command::Adapt(options) => commands::adapt(config, options),
        Command::Train(options) => commands::train(config, options),
        Command::Eval(options) => commands::eval(config, options),
        Command::TryGrammar => return commands::try_grammar(),
    };
    log::flush(LAST_LINES);
    let Err(error) = done else { return ExitCode::SUCCESS };
    let code = if error.is_misuse() { MISUSE } else { FAILURE };
    if config.server.log_format == LogFormat::Json && config.server.log_level != "off" {
        // A collector that reads the log line by line accepts nothing else.
        tracing::error!(error = with_causes(&error), "failed");
        log::flush(LAST_LINES);
        return ExitCode::from(code);
    }
    failure(&error, code)
}

fn start_log(settings: &ServerConfig) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(log_directives(settings.log_level)))
        .with_writer(log::start());
    match settings.log_format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Notifier of the service manager that started this process, if one did.
fn notifier() -> Notifier {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return Notifier::default();
    };
    Notifier::to(&name).unwrap_or_else(|error| {
        tracing::warn!(%error, ?name, "NOTIFY_SOCKET cannot be used; the service manager is told nothing");
        Notifier::default()
    })
}

/// This program, whose processes try what strangers write. Where it is not known, nothing can be tried, and no request
/// with a grammar is served.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_default()
}

/// The command line that started the process, so that people can repeat it.
fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once("server".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn failure(error: &dyn Error, code: u8) -> ExitCode {
    // A message that cannot be written does not change the exit code.
    say(&format!("error: {}", with_causes(error)));
    ExitCode::from(code)
}

/// Log filter: `level` for this project's crates, and at most warn for libraries.
fn log_directives(level: &str) -> String {
    let libraries = if matches!(level, "off" | "error") { level } else { "warn" };
    format!("{libraries},server={level},model={level},kernels={level}")
}

#[cfg(test)]
mod tests {
    use server::config::{Configs, LOG_LEVELS};

    use super::*;

    #[test]
    fn an_error_is_one_line_that_ends_with_its_root_cause() {
        let error = Configs::resolve(Some("/nowhere.toml".as_ref()), &Environment::default(), Vec::new()).unwrap_err();
        let text = with_causes(&error);
        assert!(text.starts_with("cannot read the configuration file /nowhere.toml: No such file"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn every_log_level_is_a_valid_filter_and_libraries_stay_quiet() {
        for level in LOG_LEVELS {
            EnvFilter::try_new(log_directives(level)).unwrap();
        }
        assert_eq!(log_directives("debug"), "warn,server=debug,model=debug,kernels=debug");
        assert_eq!(log_directives("error"), "error,server=error,model=error,kernels=error");
    }
}
