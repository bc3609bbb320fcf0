//! A text that may not grow beyond a limit.
//!
//! A template is rendered into it.

use std::io::{Error, Result, Write};

/// Keeps what is written, up to a limit.
#[derive(Debug)]
pub struct LimitedWriter {
    written: Vec<u8>,
    limit_bytes: usize,
    /// Whether more was written than it keeps.
    pub is_full: bool,
}

impl LimitedWriter {
    /// A writer that keeps `limit_bytes` at most.
    pub const fn new(limit_bytes: usize) -> Self {
        Self { written: Vec::new(), limit_bytes, is_full: false }
    }

    /// The text.
    pub fn into_text(self) -> String {
        String::from_utf8(self.written).expect("templates write whole texts")
    }
}

impl Write for LimitedWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.written.len() + bytes.len() > self.limit_bytes {
            self.is_full = true;
            return Err(Error::other("the text is too long"));
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
