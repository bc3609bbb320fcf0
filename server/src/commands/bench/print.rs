//! Prints figures on standard output. They are the bench's result: one that cannot be printed is an error.

use std::io::{Write, stdout};

use serde::Serialize;

use crate::commands::error::{CommandError, io};

/// Prints a line.
///
/// # Errors
/// When standard output is closed or full.
pub fn print(line: &str) -> Result<(), CommandError> {
    writeln!(stdout(), "{line}").map_err(io("print the figures"))
}

/// Prints numbers and texts as one JSON line.
///
/// # Errors
/// When standard output is closed or full.
pub fn print_json(line: &impl Serialize) -> Result<(), CommandError> {
    print(&serde_json::to_string(line).expect("numbers and text serialise"))
}
