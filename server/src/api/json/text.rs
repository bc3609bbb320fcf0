//! A text of any length.
//!
//! Used by readers of fields whose texts may be longer than a name.

use super::brief::Brief;
use super::shape::Shape;
use crate::api::http::ApiError;

/// Reads a text, or the kind of what stands in its place.
pub struct TextShape;

impl Shape for TextShape {
    type Read = Result<String, &'static str>;

    fn text(self, text: &str) -> Self::Read {
        Ok(text.to_owned())
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(value.kind())
    }
}

/// Reads the text of a field; nothing comes of `null`.
#[derive(Debug, Clone, Copy)]
pub struct TextFieldShape {
    /// The field's name.
    pub param: &'static str,
}

impl Shape for TextFieldShape {
    type Read = Option<Result<String, ApiError>>;

    fn text(self, text: &str) -> Self::Read {
        Some(Ok(text.to_owned()))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (param, expected, found) = (self.param.to_owned(), "a string", value.kind());
        (value != Brief::Null).then_some(Err(ApiError::WrongType { param, expected, found }))
    }
}

/// Bytes of a text as JSON, quotes included.
pub fn json_bytes(text: &str) -> usize {
    let bytes = |character: char| match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    };
    2 + text.chars().map(bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_text_are_those_of_its_json() {
        for text in ["", "plain", "\"quoted\\\"", "line\nbreak\t\r\u{8}\u{c}", "\0\u{1}\u{1f}\u{7f}", "é\u{1f600}"] {
            assert_eq!(json_bytes(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
