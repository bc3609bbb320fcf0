//! The numbered lines of a JSONL file, of bounded length, with a hash of everything that was read.
//!
//! Read by `raw_row` and by `tokenise`. Knows nothing about a line's contents.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::input;
use crate::training::error::{Error, Result};

/// Longest line: more than any text that could be a training row (a long novel has 4 MiB). Lines are read whole, and a
/// file with a longer one is no JSONL.
const MAX_LINE_BYTES: u64 = 16 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// Reader of the lines of a file that are not blank.
pub(super) struct Lines {
    path: PathBuf,
    input: BufReader<Hashing>,
    number: usize,
    max_bytes: u64,
    /// Whether a line that is not blank was read. A byte-order mark before the first one is not part of it.
    has_begun: bool,
}

/// One line.
pub(super) struct Line {
    /// Line number, from 1.
    pub number: usize,
    /// Its text, or the problem with it.
    pub text: std::result::Result<String, String>,
}

impl Lines {
    pub fn open(path: &Path) -> Result<Self> {
        let file = input::open(path).map_err(|source| failed(path, source))?;
        let input = BufReader::with_capacity(BUFFER_BYTES, Hashing { file, hash: Xxh3::new(), bytes: 0 });
        Ok(Self { path: path.to_owned(), input, number: 0, max_bytes: MAX_LINE_BYTES, has_begun: false })
    }

    /// The next line that is not blank.
    pub fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            let read = (&mut self.input).take(self.max_bytes + 1).read_until(b'\n', &mut bytes);
            if read.map_err(|source| failed(&self.path, source))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let is_too_long = bytes.len() as u64 > self.max_bytes && bytes.last() != Some(&b'\n');
            if !self.has_begun {
                bytes = input::strip_mark(bytes);
            }
            self.has_begun |= is_too_long || !bytes.trim_ascii().is_empty();
            if is_too_long {
                self.input.skip_until(b'\n').map_err(|source| failed(&self.path, source))?;
                let problem = format!("it is longer than {} bytes, the most that a row may have", self.max_bytes);
                return Ok(Some(Line { number: self.number, text: Err(problem) }));
            }
            if !bytes.trim_ascii().is_empty() {
                let text =
                    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 ({})", error.utf8_error()));
                return Ok(Some(Line { number: self.number, text }));
            }
        }
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.input.get_ref().bytes
    }

    /// Hash of the bytes read so far; of the whole file once [`Self::next`] has returned `None`.
    pub fn hash(&self) -> u128 {
        self.input.get_ref().hash.digest128()
    }
}

/// Hash of a whole file.
pub(in crate::training) fn hash_of(path: &Path) -> Result<u128> {
    let file = input::open(path).map_err(|source| failed(path, source))?;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, Hashing { file, hash: Xxh3::new(), bytes: 0 });
    loop {
        let length = input.fill_buf().map_err(|source| failed(path, source))?.len();
        if length == 0 {
            return Ok(input.get_ref().hash.digest128());
        }
        input.consume(length);
    }
}

/// A file with the hash of what was read from it.
struct Hashing {
    file: File,
    hash: Xxh3,
    bytes: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::File { action: "read", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn all(contents: &[u8], max_bytes: u64) -> Vec<(usize, std::result::Result<String, String>)> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("rows.jsonl");
        fs::write(&path, contents).unwrap();
        let mut lines = Lines { max_bytes, ..Lines::open(&path).unwrap() };
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.text));
        }
        assert_eq!((lines.bytes(), lines.hash()), (contents.len() as u64, hash_of(&path).unwrap()));
        all
    }

    #[test]
    fn blank_lines_count_and_are_left_out() {
        let lines = all(b"a\n\n \t\r\nb\r\nc", 100);
        assert_eq!(lines, [(1, Ok("a\n".to_owned())), (4, Ok("b\r\n".to_owned())), (5, Ok("c".to_owned()))]);
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_the_next_one_is_read() {
        let lines = all(b"1234\n12345\n123456789\n1\n12345", 4);
        let problem = Err("it is longer than 4 bytes, the most that a row may have".to_owned());
        let expected = [(1, Ok("1234\n".to_owned())), (2, problem.clone()), (3, problem.clone())];
        assert_eq!(lines[..3], expected);
        assert_eq!(lines[3..], [(4, Ok("1\n".to_owned())), (5, problem)]);
    }

    #[test]
    fn a_byte_order_mark_before_the_first_row_is_no_part_of_it() {
        let row = |number, text: &str| (number, Ok(text.to_owned()));
        assert_eq!(all("\u{feff}a\nb".as_bytes(), 100), [row(1, "a\n"), row(2, "b")]);
        assert_eq!(all("\u{feff}\n\n\u{feff}a".as_bytes(), 100), [row(3, "a")]);
        assert_eq!(all("a\n\u{feff}b".as_bytes(), 100), [row(1, "a\n"), row(2, "\u{feff}b")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        let lines = all(b"\xff\xfe\nb", 100);
        assert!(lines[0].1.as_ref().unwrap_err().starts_with("it is not UTF-8"), "{lines:?}");
        assert_eq!(lines[1], (2, Ok("b".to_owned())));
    }
}
