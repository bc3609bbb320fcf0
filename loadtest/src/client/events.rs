//! Server-sent events: bytes in, the data of each event out.

/// Largest event, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// Bytes of a stream that are no whole event yet.
#[derive(Debug, Default)]
pub struct Events {
    held: Vec<u8>,
    /// Bytes at the start of `held` in which no event ends, so that they are not searched again.
    searched: usize,
}

impl Events {
    /// Takes a piece of the stream, and calls `take` with the data of each event that is now whole. An event whose data
    /// stands in several lines is given with the line feeds between them.
    ///
    /// # Errors
    /// The error of `take`, or none held when an event is larger than 64 MiB.
    pub fn push<E>(&mut self, piece: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), Option<E>> {
        if self.held.is_empty() {
            // Most pieces are whole events, which need no copy.
            let taken = Self::split(piece, 0, &mut take)?;
            self.held.extend_from_slice(&piece[taken..]);
        } else {
            self.held.extend_from_slice(piece);
            let taken = Self::split(&self.held, self.searched, &mut take)?;
            self.held.drain(..taken);
        }
        // An end is at most three bytes long, so it may have begun in the last two.
        self.searched = self.held.len().saturating_sub(2);
        if self.held.len() > MOST_BYTES { Err(None) } else { Ok(()) }
    }

    /// Whether bytes are left that are no whole event.
    pub fn has_rest(&self) -> bool {
        !self.held.trim_ascii().is_empty()
    }

    /// Gives the number of bytes that whole events take. No event ends in the first `searched` bytes.
    fn split<E>(
        bytes: &[u8],
        mut searched: usize,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<usize, Option<E>> {
        let mut start = 0;
        while let Some((end, next)) = first_end(bytes, searched) {
            let event = &bytes[start..end];
            let mut lines = event.split(|byte| *byte == b'\n').filter_map(data_of);
            if let Some(first) = lines.next() {
                match lines.next() {
                    None => take(first).map_err(Some)?,
                    Some(second) => {
                        let all: Vec<&[u8]> = [first, second].into_iter().chain(lines).collect();
                        take(&all.join(&b'\n')).map_err(Some)?;
                    }
                }
            }
            (start, searched) = (next, next);
        }
        Ok(start)
    }
}

/// Where the first event from `from` on ends, and where its empty line ends.
fn first_end(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    for (at, _) in bytes.iter().enumerate().skip(from).filter(|(_, byte)| **byte == b'\n') {
        let rest = &bytes[at + 1..];
        let empty_line: Option<&[u8]> = [&b"\n"[..], b"\r\n"].into_iter().find(|line| rest.starts_with(line));
        if let Some(line) = empty_line {
            return Some((at, at + 1 + line.len()));
        }
    }
    None
}

fn data_of(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let data = line.strip_prefix(b"data:")?;
    Some(data.strip_prefix(b" ").unwrap_or(data))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn split(pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut events = Events::default();
        let mut seen = Vec::new();
        for piece in pieces {
            let take = |data: &[u8]| {
                seen.push(String::from_utf8(data.to_vec()).unwrap());
                Ok::<(), ()>(())
            };
            events.push(piece, take).unwrap();
        }
        (seen, events.has_rest())
    }

    #[test]
    fn an_event_ends_with_an_empty_line_wherever_the_pieces_end() {
        let stream = b"data: one\n\n: a comment\n\ndata:two\r\n\r\nevent: x\ndata: three\ndata: lines\n\n";
        let expected = ["one", "two", "three\nlines"];
        for at in 0..stream.len() {
            let (first, rest) = stream.split_at(at);
            assert_eq!(split(&[first, rest]), (expected.map(str::to_owned).to_vec(), false), "cut at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(split(&bytes).0, expected);
    }

    #[test]
    fn an_event_that_comes_in_many_pieces_is_searched_once() {
        let begun = Instant::now();
        let mut events = Events::default();
        let mut lengths = Vec::new();
        let mut push = |piece: &[u8]| {
            events.push(piece, |data| {
                lengths.push(data.len());
                Ok::<(), ()>(())
            })
        };
        push(b"data: ").unwrap();
        for _ in 0..1 << 15 {
            push(&[b'a'; 256]).unwrap();
        }
        push(b"\r\n\r\n").unwrap();
        assert_eq!(lengths, [8 << 20]);
        // Searched from its start with each piece, it would take 130 billion looks.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_left_is_no_event() {
        assert_eq!(split(&[b"data: one\n\ndata: tw"]), (vec!["one".to_owned()], true));
    }
}
