//! A template's value as JSON, spaced as Python's `json.dumps` does.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Values that stand in one another, at most.
const DEPTH: usize = 64;
/// Bytes of a text, at most. Lists may hold one another more than once, so a short template could ask for more than any
/// memory holds.
const MOST_BYTES: usize = 1 << 24;
/// Spaces by which a level may be indented.
const INDENT: usize = 16;

/// The value as JSON, on one line or indented.
///
/// # Errors
/// When it is nested too deeply, too long, or no JSON value.
pub fn to_json(value: &Value, indent: Option<usize>) -> Result<String, Error> {
    let mut writer = Writer { out: String::new(), indent: indent.map(|spaces| spaces.min(INDENT)) };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    indent: Option<usize>,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: the value is nested too deeply"));
        }
        if self.out.len() > MOST_BYTES {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: more than {MOST_BYTES} bytes")));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&value.to_string()),
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.out.push('[');
                let mut is_empty = true;
                for item in value.try_iter()? {
                    self.next(&mut is_empty, depth);
                    self.value(&item, depth + 1)?;
                }
                self.end(']', is_empty, depth);
            }
            ValueKind::Map => {
                self.out.push('{');
                let mut is_empty = true;
                for key in value.try_iter()? {
                    self.next(&mut is_empty, depth);
                    self.text(&key.to_string());
                    self.out.push_str(": ");
                    self.value(&value.get_item(&key)?, depth + 1)?;
                }
                self.end('}', is_empty, depth);
            }
            kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {kind} is no JSON value"))),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.push_str(&serde_json::to_string(text).expect("strings serialise"));
    }

    /// Begins the next item of a list or an object.
    fn next(&mut self, is_first: &mut bool, depth: usize) {
        match (std::mem::replace(is_first, false), self.indent) {
            (true, None) => {}
            (false, None) => self.out.push_str(", "),
            (true, Some(_)) => self.new_line(depth + 1),
            (false, Some(_)) => {
                self.out.push(',');
                self.new_line(depth + 1);
            }
        }
    }

    fn end(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty && self.indent.is_some() {
            self.new_line(depth);
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self, depth: usize) {
        let spaces = self.indent.unwrap_or_default() * depth;
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', spaces));
    }
}
