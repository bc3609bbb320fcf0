//! `server try-grammar`: compiles the grammar on standard input, for a server that waits outside.
//!
//! Called by `main`. Not for people: [`crate::constraint::Trials`] starts it.

use std::io::{Write, stdin, stdout};
use std::process::ExitCode;

use crate::constraint::trial::{self, TrialEnd};

/// Exits with 0, or with [`trial::REFUSED`] or [`trial::FAILED`] and the reason on standard output.
pub fn try_grammar() -> ExitCode {
    let (status, reason) = match trial::hold(stdin().lock()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(TrialEnd::Refused(reason)) => (trial::REFUSED, reason),
        Err(TrialEnd::Failed(reason)) => (trial::FAILED, reason),
    };
    // A server that does not wait any more needs no reason.
    let _ = stdout().write_all(reason.as_bytes());
    ExitCode::from(status)
}
