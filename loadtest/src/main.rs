//! The process: arguments in, exit code out (0 good, 1 not good, 2 used wrongly).
//!
//! The only place that may read the environment. Everything it does is a call into the library.

use std::process::ExitCode;

use clap::Parser;
use loadtest::cli::Cli;
use loadtest::command;
use loadtest::error::with_causes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const NOT_GOOD: u8 = 1;
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    let key = |name: &str| std::env::var(name).ok().filter(|key| !key.is_empty());
    cli.run.api_key = cli.run.api_key.or_else(|| key("LOADTEST_API_KEY")).or_else(|| key("OPENAI_API_KEY"));
    raise_file_limit();
    match command::run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_GOOD),
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::from(if error.is_misuse() { MISUSE } else { NOT_GOOD })
        }
    }
}

/// Lets the process hold as many connections as it may: every request in flight has its own.
fn raise_file_limit() {
    let now = getrlimit(Resource::Nofile);
    // Where it cannot be raised, requests beyond the limit fail, and are counted so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now });
}
