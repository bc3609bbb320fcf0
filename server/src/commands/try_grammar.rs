//! `server try-grammar`: compiles the grammar on standard input, for a server that waits outside.
//!
//! Called by `main`. Not for people: [`crate::constraint::Trials`] starts it.

use std::io::{Write, stdin, stdout};
use std::process::ExitCode;

use crate::constraint::trial;

/// Exits with 0, or with [`trial::REFUSED`] and the reason on standard output.
pub fn try_grammar() -> ExitCode {
    let Err(reason) = trial::hold(stdin().lock()) else { return ExitCode::SUCCESS };
    // A server that does not wait any more needs no reason.
    let _ = stdout().write_all(reason.as_bytes());
    ExitCode::from(trial::REFUSED)
}
