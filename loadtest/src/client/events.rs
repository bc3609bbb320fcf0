//! Server-sent events: bytes in, the data of each event out.

/// Largest event, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// Bytes of a stream that are no whole event yet.
#[derive(Debug, Default)]
pub struct Events {
    held: Vec<u8>,
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
            let rest = Self::split(piece, &mut take)?;
            self.held.extend_from_slice(rest);
        } else {
            self.held.extend_from_slice(piece);
            let held = std::mem::take(&mut self.held);
            let rest = Self::split(&held, &mut take)?;
            self.held = rest.to_vec();
        }
        if self.held.len() > MOST_BYTES { Err(None) } else { Ok(()) }
    }

    /// Whether bytes are left that are no whole event.
    pub fn has_rest(&self) -> bool {
        !self.held.trim_ascii().is_empty()
    }

    fn split<'a, E>(mut bytes: &'a [u8], take: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<&'a [u8], Option<E>> {
        while let Some((event, rest)) = first_event(bytes) {
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
            bytes = rest;
        }
        Ok(bytes)
    }
}

/// The first event, and what follows the empty line after it.
fn first_event(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let rest = &bytes[at + 1..];
        let end = rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n"));
        if let Some(after) = end {
            return Some((&bytes[..at], after));
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
    fn what_is_left_is_no_event() {
        assert_eq!(split(&[b"data: one\n\ndata: tw"]), (vec!["one".to_owned()], true));
    }
}
