//! Functions and filters that transformers gives to chat templates beside Jinja's own.

use jiff::Timestamp;
use jiff::fmt::strtime;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::json::to_json;

/// A template refuses the conversation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Raised(pub String);

/// Adds the functions to the environment of a template.
pub fn add_functions(environment: &mut Environment<'_>) {
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", tojson);
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raised by the template").with_source(Raised(message)))
}

/// The time now, in UTC, in a format of C's `strftime`.
fn strftime_now(format: &str) -> Result<String, Error> {
    let formatted = strtime::format(format, Timestamp::now());
    formatted.map_err(|error| Error::new(ErrorKind::InvalidOperation, "strftime_now").with_source(error))
}

/// JSON as Python writes it, without escapes for HTML.
fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ensure_ascii == Some(true) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson takes no other ensure_ascii than false"));
    }
    to_json(value, indent).map(Value::from)
}
