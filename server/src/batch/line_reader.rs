//! The lines of a file, one at a time and each within a bound, so that no file needs memory in proportion.

use std::io::{self, BufRead, Read};

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, counted from 1.
    pub number: u64,
    /// Its bytes without the end of the line; `None` when there are more than are read.
    pub bytes: Option<Vec<u8>>,
}

/// Reads lines. Blank ones are left out, and counted.
#[derive(Debug)]
pub struct LineReader<R> {
    input: R,
    most_bytes: usize,
    lines: u64,
}

impl<R: BufRead> LineReader<R> {
    /// A reader of lines of at most so many bytes.
    pub const fn new(input: R, most_bytes: usize) -> Self {
        Self { input, most_bytes, lines: 0 }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            let most = (self.most_bytes as u64).saturating_add(1);
            if self.input.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            self.lines += 1;
            let is_whole = bytes.last() == Some(&b'\n');
            if is_whole {
                bytes.pop();
            } else if bytes.len() > self.most_bytes {
                self.input.skip_until(b'\n')?;
                return Ok(Some(Line { number: self.lines, bytes: None }));
            }
            if self.lines == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Line { number: self.lines, bytes: Some(bytes) }));
            }
        }
    }
}

impl<R: BufRead> Iterator for LineReader<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, most_bytes: usize) -> Vec<(u64, Option<String>)> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        LineReader::new(text.as_bytes(), most_bytes)
            .map(|line| line.map(|line| (line.number, line.bytes.map(text_of))).unwrap())
            .collect()
    }

    #[test]
    fn blank_lines_are_counted_and_the_last_line_needs_no_end() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lines("\u{feff}a\n\n  \r\nb\r\nc", 9), [(1, some("a")), (4, some("b\r")), (5, some("c"))]);
        assert_eq!(lines("", 9), []);
    }

    #[test]
    fn a_line_beyond_the_bound_is_passed_over_without_being_kept() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lines("abc\nabcd\nabcde\nx\n", 4), [(1, some("abc")), (2, some("abcd")), (3, None), (4, some("x"))]);
        assert_eq!(lines("abcde", 4), [(1, None)]);
    }
}
