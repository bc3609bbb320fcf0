//! Figures on standard output, which are the bench's answer: unlike messages, they are not dropped in silence.

use std::io::{Write, stdout};

use serde::Serialize;

use crate::commands::error::{CommandError, io};

/// Prints a line.
///
/// # Errors
/// When standard output takes nothing any more.
pub fn print(line: &str) -> Result<(), CommandError> {
    writeln!(stdout(), "{line}").map_err(io("print the figures"))
}

/// Prints numbers and texts as one JSON line.
///
/// # Errors
/// When standard output takes nothing any more.
pub fn print_json(line: &impl Serialize) -> Result<(), CommandError> {
    print(&serde_json::to_string(line).expect("numbers and text serialise"))
}
