//! A body of multipart/form-data (RFC 7578), taken apart as it arrives: whatever a client sends, no more than a part's
//! head or a piece of its data is kept.
//!
//! Used by `upload`. Libraries for this keep what they have not given out yet, as much as arrives.

use axum::http::{HeaderMap, header};
use memchr::memmem;

use crate::api::http::ApiError;

/// Most bytes of the head of a part.
const HEAD_BYTES: usize = 4 << 10;
/// Most characters of a boundary.
const BOUNDARY_CHARACTERS: usize = 70;
/// Most bytes of a line before a part beside the boundary.
const PADDING_BYTES: usize = 256;

/// Takes a body apart.
#[derive(Debug)]
pub struct Form {
    /// Bytes before the head of a part: the end of a line, two hyphens and the boundary.
    marker: Vec<u8>,
    buffer: Vec<u8>,
    place: Place,
}

/// Place in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first part.
    Preamble,
    /// After a marker.
    Marker,
    /// In the head of a part.
    Head,
    /// In the data of a part.
    Data,
    /// After the last part.
    End,
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A part begins.
    Part(PartName),
    /// Some of its data.
    Data(Vec<u8>),
    /// The part is whole.
    PartEnd,
}

/// Names of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartName {
    /// Name of the field.
    pub name: String,
    /// Name of the file at the client.
    pub filename: Option<String>,
}

impl Form {
    /// The form that headers declare.
    ///
    /// # Errors
    /// [`ApiError::NotAForm`].
    pub fn declared(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Err(problem("its Content-Type is another one"));
        }
        match parameter(parameters, "boundary") {
            Some(boundary) if (1..=BOUNDARY_CHARACTERS).contains(&boundary.len()) => Ok(Self::new(&boundary)),
            _ => Err(problem("its Content-Type has no boundary of 1 to 70 characters")),
        }
    }

    fn new(boundary: &str) -> Self {
        let marker = format!("\r\n--{boundary}").into_bytes();
        // The first marker may stand at the very beginning.
        Self { marker, buffer: b"\r\n".to_vec(), place: Place::Preamble }
    }

    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.place != Place::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next piece; nothing when more bytes have to arrive first.
    ///
    /// # Errors
    /// [`ApiError::NotAForm`].
    pub fn next(&mut self) -> Result<Option<Piece>, ApiError> {
        loop {
            match self.place {
                Place::End => return Ok(None),
                Place::Preamble => match memmem::find(&self.buffer, &self.marker) {
                    Some(at) => self.enter(Place::Marker, at + self.marker.len()),
                    None => {
                        self.take_until_marker();
                        return Ok(None);
                    }
                },
                Place::Marker => {
                    if self.buffer.starts_with(b"--") {
                        self.enter(Place::End, self.buffer.len());
                        return Ok(None);
                    }
                    match memmem::find(&self.buffer, b"\r\n") {
                        Some(at) if self.buffer[..at].iter().all(|byte| b" \t".contains(byte)) => {
                            self.enter(Place::Head, at);
                        }
                        None if self.buffer.len() <= PADDING_BYTES => return Ok(None),
                        _ => return Err(problem("something stands between the boundary and the end of its line")),
                    }
                }
                Place::Head => match memmem::find(&self.buffer, b"\r\n\r\n") {
                    Some(at) if at <= HEAD_BYTES => {
                        let name = read_head(&self.buffer[..at])?;
                        self.enter(Place::Data, at + 4);
                        return Ok(Some(Piece::Part(name)));
                    }
                    None if self.buffer.len() <= HEAD_BYTES => return Ok(None),
                    _ => return Err(problem("the head of a part is too long")),
                },
                Place::Data => return Ok(self.data()),
            }
        }
    }

    /// Whether the body has come to its end.
    pub fn is_whole(&self) -> bool {
        self.place == Place::End
    }

    fn data(&mut self) -> Option<Piece> {
        match memmem::find(&self.buffer, &self.marker) {
            Some(0) => {
                self.enter(Place::Marker, self.marker.len());
                Some(Piece::PartEnd)
            }
            Some(at) => Some(Piece::Data(self.buffer.drain(..at).collect())),
            None => Some(self.take_until_marker()).filter(|data| !data.is_empty()).map(Piece::Data),
        }
    }

    /// Goes on behind so many bytes.
    fn enter(&mut self, place: Place, bytes: usize) {
        self.buffer.drain(..bytes);
        self.place = place;
    }

    /// Takes what cannot be the beginning of a marker.
    fn take_until_marker(&mut self) -> Vec<u8> {
        let kept = self.buffer.len().min(self.marker.len() - 1);
        let rest = self.buffer.split_off(self.buffer.len() - kept);
        std::mem::replace(&mut self.buffer, rest)
    }
}

const fn problem(problem: &'static str) -> ApiError {
    ApiError::NotAForm(problem)
}

/// Reads the lines of a part's head.
fn read_head(head: &[u8]) -> Result<PartName, ApiError> {
    let text = std::str::from_utf8(head).map_err(|_| problem("the head of a part is not UTF-8"))?;
    let value = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let (kind, parameters) = value.and_then(|value| value.split_once(';')).unwrap_or_default();
    let name = parameter(parameters, "name").filter(|_| kind.trim().eq_ignore_ascii_case("form-data"));
    let name = name.ok_or(problem("a part has no name"))?;
    Ok(PartName { name, filename: parameter(parameters, "filename") })
}

/// The value of a parameter of a header, with or without quotes.
fn parameter(mut text: &str, wanted: &str) -> Option<String> {
    loop {
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => quoted(rest)?,
            None => {
                let (value, rest) = rest.split_once(';').unwrap_or((rest, ""));
                (value.trim().to_owned(), rest)
            }
        };
        if name.trim().trim_start_matches(';').trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        text = rest;
    }
}

/// A text up to the next quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (place, character) in text.char_indices() {
        match character {
            '"' if !is_escaped => return Some((value, &text[place + 1..])),
            '\\' if !is_escaped => is_escaped = true,
            character => {
                value.push(character);
                is_escaped = false;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "preamble\r\n--X\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
        --X \t\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION: form-data; \
        filename=\"a;\\\"b.jsonl\"; name=file\r\n\r\n\
        one\r\n--Y\r\n--\r\n\r\n--X--\r\nepilogue";

    /// The parts of a body that arrives in pieces of so many bytes.
    fn parts(body: &str, bytes: usize) -> Result<Vec<(PartName, String)>, ApiError> {
        let (mut form, mut parts) = (Form::new("X"), Vec::new());
        for piece in body.as_bytes().chunks(bytes) {
            form.feed(piece);
            while let Some(piece) = form.next()? {
                match piece {
                    Piece::Part(name) => parts.push((name, String::new())),
                    Piece::Data(data) => parts.last_mut().unwrap().1 += std::str::from_utf8(&data).unwrap(),
                    Piece::PartEnd => {}
                }
            }
            assert!(form.buffer.len() <= HEAD_BYTES);
        }
        if form.is_whole() { Ok(parts) } else { Err(problem("unfinished")) }
    }

    #[test]
    fn parts_are_found_however_the_body_arrives() {
        let name = |name: &str, filename: Option<&str>| PartName {
            name: name.to_owned(),
            filename: filename.map(str::to_owned),
        };
        let expected = vec![
            (name("purpose", None), "batch".to_owned()),
            (name("file", Some("a;\"b.jsonl")), "one\r\n--Y\r\n--\r\n".to_owned()),
        ];
        for bytes in 1..=BODY.len() {
            assert_eq!(parts(BODY, bytes), Ok(expected.clone()), "{bytes}");
        }
        let empty = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--X--";
        assert_eq!(parts(empty, 1), Ok(vec![(name("a", None), String::new())]));
    }

    #[test]
    fn what_is_no_form_is_refused_and_nothing_is_kept_of_it() {
        let long = format!("--X\r\nContent-Disposition: form-data; name=\"{}\"", "a".repeat(1 << 20));
        for body in
            ["--X", "--Xa\r\n", "--X\r\n\r\n\r\nx\r\n--X--", &BODY[..BODY.len() - 20], &long, &"x".repeat(1 << 20)]
        {
            assert!(parts(body, 1000).is_err(), "{}", &body[..body.len().min(40)]);
        }
    }

    #[test]
    fn the_boundary_is_in_the_content_type() {
        let declared = |text: &str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())]);
            Form::declared(&headers).map(|form| String::from_utf8(form.marker[4..].to_vec()).unwrap())
        };
        assert_eq!(declared("multipart/form-data; boundary=a-b").as_deref(), Ok("a-b"));
        assert_eq!(declared("Multipart/Form-Data; charset=x; Boundary=\"a b\"").as_deref(), Ok("a b"));
        for text in
            ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a"]
        {
            assert!(declared(text).is_err(), "{text}");
        }
    }
}
