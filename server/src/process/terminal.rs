//! Lines for the person who started a command. A line that cannot be written is dropped: a full disk or a closed pipe
//! behind standard error ends nothing.
//!
//! Called by the commands and by `main`. The result of a command goes to standard output instead, and fails with an
//! error.

use std::io::{Write, stderr, stdout};

/// Writes a line to standard error.
pub fn say(line: &str) {
    // The line is written at once, so that lines of several threads do not mix.
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes a line to standard output, for commands whose result is a file.
pub fn show(line: &str) {
    let _ = stdout().write_all(format!("{line}\n").as_bytes());
}
