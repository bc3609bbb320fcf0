//! `server key`: a new API key.
//!
//! Called by `main`. Nothing is stored: the secret goes to whoever reads standard output, and so does the line that a
//! server needs to know the key.

use std::io::{Write, stdout};

use super::error::{CommandError, io};
use crate::access::NewKey;
use crate::cli::KeyOptions;

/// Prints a new key: its secret for the client, and its line for the server.
///
/// # Errors
/// When standard output cannot be written.
pub fn key(options: &KeyOptions) -> Result<(), CommandError> {
    let NewKey { secret, line } = NewKey::make(&options.name);
    let text =
        format!("secret, for the client; it is not shown again:\n{secret}\nline for access.keys_file:\n{line}\n");
    stdout().write_all(text.as_bytes()).map_err(io("print the key"))
}
