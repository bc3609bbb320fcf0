//! Boundaries of the requests in a connection's bytes, by the strict reading of HTTP/1.1 (RFC 9112).
//!
//! Used by `guarded`. Does no input or output. Bytes that two readers could understand differently are refused, because
//! a proxy in front would take other bytes for the next request than this server does.

/// Most bytes of a request's head, including its first line and the last empty one.
pub const HEAD_BYTES: usize = 64 << 10;
/// End of a head.
const END: &[u8] = b"\r\n\r\n";

/// The next part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The head of a request.
    Head,
    /// Bytes that remain of a body with a declared length.
    Body(u64),
    /// A chunked body.
    Chunked(Chunk),
    /// No further boundary is known: the rest belongs to one request.
    Lost,
}

/// Position in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// Before the first digit of a size.
    Start,
    /// In the hexadecimal size, with its value so far.
    Size(u64),
    /// Behind the size: extensions, until the line ends.
    Extension(u64),
    /// Before the line feed that ends the size's line.
    SizeEnd(u64),
    /// Bytes of data that are still to come.
    Data(u64),
    /// Before the carriage return behind the data.
    DataReturn,
    /// Before the line feed behind the data.
    DataEnd,
    /// At the beginning of a line behind the last chunk.
    Trailer,
    /// Within a line behind the last chunk.
    TrailerLine,
    /// Before the line feed that ends a line behind the last chunk.
    TrailerEnd,
    /// Before the line feed of the last line.
    LastEnd,
}

/// Verdict on a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It does not end within the present bytes.
    Partial,
    /// It is complete and unambiguous; its number of bytes.
    Complete(usize),
    /// It must not be answered as a request.
    Refused,
    /// It is longer than [`HEAD_BYTES`].
    TooLong,
}

/// The boundaries of one connection's requests.
#[derive(Debug)]
pub struct Framing {
    stage: Stage,
    /// Bytes of the present head that were searched already, so that a slow client does not cause repeated searches.
    looked_at: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self { stage: Stage::Head, looked_at: 0 }
    }
}

impl Framing {
    /// Whether a head comes next.
    pub fn expects_head(&self) -> bool {
        self.stage == Stage::Head
    }

    /// Checks the head at the start of `bytes`; a complete one is consumed.
    pub fn head(&mut self, bytes: &[u8]) -> Head {
        debug_assert!(self.expects_head(), "a body is passed by first");
        let seen = &bytes[..bytes.len().min(HEAD_BYTES)];
        let from = self.looked_at.saturating_sub(END.len() - 1);
        self.looked_at = seen.len();
        let end = seen[from..].windows(END.len()).position(|bytes| bytes == END);
        let (answer, stage) = match end.map(|at| from + at + END.len()) {
            Some(length) => match body(&seen[..length]) {
                Some(stage) => (Head::Complete(length), stage),
                None => (Head::Refused, Stage::Lost),
            },
            None if has_bare_line_feed(&seen[from..]) => (Head::Refused, Stage::Lost),
            None if seen.len() == HEAD_BYTES => (Head::TooLong, Stage::Lost),
            None => return Head::Partial,
        };
        self.stage = stage;
        self.looked_at = 0;
        answer
    }

    /// Number of `bytes` that belong to the present body; they are consumed.
    pub fn body(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() && self.stage != Stage::Head {
            passed += self.step(&bytes[passed..]);
        }
        passed
    }

    /// Consumes as much of a body as one part has; at least a byte.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.stage {
            Stage::Head => 0,
            Stage::Lost => bytes.len(),
            Stage::Body(left) => {
                let (passed, left) = take(left, bytes);
                self.stage = if left == 0 { Stage::Head } else { Stage::Body(left) };
                passed
            }
            Stage::Chunked(Chunk::Data(left)) => {
                let (passed, left) = take(left, bytes);
                self.stage = Stage::Chunked(if left == 0 { Chunk::DataReturn } else { Chunk::Data(left) });
                passed
            }
            Stage::Chunked(chunk) => {
                self.stage = chunk.after(bytes[0]);
                1
            }
        }
    }
}

impl Chunk {
    /// The position after `byte`, outside of data.
    fn after(self, byte: u8) -> Stage {
        let next = match (self, byte) {
            (Self::Size(size) | Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Size(size), b';' | b' ' | b'\t') => Self::Extension(size),
            (Self::Start, digit) => match char::from(digit).to_digit(16) {
                Some(digit) => Self::Size(u64::from(digit)),
                None => return Stage::Lost,
            },
            (Self::Size(size), digit) => match (char::from(digit).to_digit(16), size.checked_mul(16)) {
                (Some(digit), Some(size)) => Self::Size(size + u64::from(digit)),
                _ => return Stage::Lost,
            },
            (Self::Extension(size), byte) if byte != b'\n' => Self::Extension(size),
            (Self::SizeEnd(0), b'\n') => Self::Trailer,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataReturn, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Start,
            (Self::Trailer, b'\r') => Self::LastEnd,
            (Self::TrailerLine, b'\r') => Self::TrailerEnd,
            (Self::TrailerEnd, b'\n') => Self::Trailer,
            (Self::Trailer | Self::TrailerLine, byte) if byte != b'\n' => Self::TrailerLine,
            (Self::LastEnd, b'\n') => return Stage::Head,
            _ => return Stage::Lost,
        };
        Stage::Chunked(next)
    }
}

/// The smaller of the remaining and the present bytes, and the remainder after it.
fn take(left: u64, bytes: &[u8]) -> (usize, u64) {
    let passed = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (passed, left - passed as u64)
}

/// Whether a line ends without a carriage return. The line before the first byte is known to end well.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
}

/// The part after a head; `None` if the head is refused.
fn body(head: &[u8]) -> Option<Stage> {
    if head.first() == Some(&b'\n') || has_bare_line_feed(head) {
        return None;
    }
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).skip_while(|line| line.is_empty());
    let request_line = lines.next()?;
    let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), Vec::new());
    for line in lines {
        // A continued header line is obsolete, and servers read it in two ways.
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            return None;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match name {
            name if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            name if name.eq_ignore_ascii_case(b"content-length") => lengths.push(value),
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => codings.push(value),
            _ => {}
        }
    }
    let has_host = hosts == 1 || (hosts == 0 && request_line.ends_with(b"HTTP/1.0"));
    if !has_host {
        return None;
    }
    match (&lengths[..], &codings[..]) {
        ([], []) => Some(Stage::Head),
        ([length], []) => declared(length).map(|left| if left == 0 { Stage::Head } else { Stage::Body(left) }),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Some(Stage::Chunked(Chunk::Start)),
        _ => None,
    }
}

fn declared(length: &[u8]) -> Option<u64> {
    // The parser of numbers would accept a sign.
    if !length.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(length).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> Framing {
        Framing { stage: Stage::Chunked(Chunk::Start), looked_at: 0 }
    }

    fn head(text: &str) -> Head {
        Framing::default().head(text.as_bytes())
    }

    #[test]
    fn a_plain_head_is_passed_by_and_its_body_ends_where_it_declares() {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        let mut framing = Framing::default();
        assert_eq!(framing.head(text.as_bytes()), Head::Complete(text.len()));
        assert_eq!(framing.body(b"he"), 2);
        assert!(!framing.expects_head());
        assert_eq!(framing.body(b"lloGET"), 3);
        assert!(framing.expects_head());
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailers_however_it_is_cut() {
        let text = b"5;a=b\r\nhello\r\n1 \r\n!\r\n0\r\nX: y\r\n\r\nGET";
        for cut in 0..text.len() {
            let mut framing = chunked();
            let (first, second) = text.split_at(cut);
            let passed = framing.body(first) + if framing.expects_head() { 0 } else { framing.body(second) };
            assert_eq!(passed, text.len() - 3, "{cut}");
            assert!(framing.expects_head(), "{cut}");
        }
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for lines in [
            "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3",
            "Host: a\r\nContent-Length: 3\r\nContent-Length: 3",
            "Host: a\r\nContent-Length: +3",
            "Host: a\r\nContent-Length: 3, 3",
            "Host: a\r\nContent-Length: 99999999999999999999",
            "Host: a\r\nTransfer-Encoding: gzip, chunked",
            "Host: a\r\nTransfer-Encoding: identity",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Host: a\r\nX: y\r\n folded: z",
            "Host: a\r\nHost: a",
            "X: y",
            "Host: a\nX: y",
        ] {
            assert_eq!(head(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n")), Head::Refused, "{lines}");
        }
        assert_eq!(head("GET / HTTP/1.1\nHost: a\n\n"), Head::Refused, "before the head has ended");
    }

    #[test]
    fn an_old_client_needs_no_host_and_a_new_one_may_send_an_empty_line_first() {
        assert_eq!(head("GET / HTTP/1.0\r\n\r\n"), Head::Complete(18));
        assert_eq!(head("\r\nGET / HTTP/1.1\r\nhost:a\r\n\r\n"), Head::Complete(28));
        assert_eq!(head("\r\n\r\nGET / HTTP/1.1\r\nhost:a\r\n\r\n"), Head::Refused);
        assert_eq!(head("GET / HTTP/1.1\r\nHost: a\r\n"), Head::Partial);
        assert_eq!(head(""), Head::Partial);
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_the_same() {
        for (text, expected) in
            [("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Head::Complete(27)), ("GET / HTTP/1.1\r\nHost: a\n", Head::Refused)]
        {
            let mut framing = Framing::default();
            for end in 1..text.len() {
                assert_eq!(framing.head(&text.as_bytes()[..end]), Head::Partial, "{end}");
            }
            assert_eq!(framing.head(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_too_long() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(HEAD_BYTES));
        assert_eq!(head(&long[..HEAD_BYTES - 1]), Head::Partial);
        assert_eq!(head(&long), Head::TooLong);
    }

    #[test]
    fn a_chunk_that_is_none_loses_the_boundary() {
        for text in ["x\r\n", "5\nhello", "1\r\nab", "fffffffffffffffff\r\n", "\r\n", "0\r\na: b\n\r\n"] {
            let mut framing = chunked();
            assert_eq!((framing.body(text.as_bytes()), framing.stage), (text.len(), Stage::Lost), "{text}");
        }
    }
}
