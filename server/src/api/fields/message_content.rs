//! The content of a message: a text, or a list of parts that are texts.
//!
//! Read by `messages`.

use serde::de::{MapAccess, SeqAccess};

use super::messages::MessageDialect;
use crate::api::http::ApiError;
use crate::api::json::{Brief, OwnedText, Shape, Shaped, TextShape, shortened, skip_rest};

/// Most parts of one message.
const PARTS: usize = 1024;
/// Put between the texts of parts, as in vLLM.
const BETWEEN_PARTS: &str = "\n";

/// The text of a message.
pub struct Content(pub String);

/// Reads a content; nothing comes of `null`.
pub struct ContentShape {
    /// The endpoint's way of writing messages.
    pub dialect: &'static MessageDialect,
    /// Its name in errors.
    pub place: String,
}

impl Shape for ContentShape {
    type Read = Result<Option<Content>, ApiError>;

    fn text(self, text: &str) -> Self::Read {
        Ok(Some(Content(text.to_owned())))
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let Self { dialect, place } = self;
        let mut read = Ok(String::new());
        let mut count = 0;
        while count < PARTS
            && let Ok(text) = &mut read
        {
            let part = PartShape { dialect, place: format!("{place}[{count}]") };
            match list.next_element_seed(Shaped(part))? {
                None => break,
                Some(Ok(part)) => {
                    if count > 0 {
                        text.push_str(BETWEEN_PARTS);
                    }
                    text.push_str(&part);
                }
                Some(Err(error)) => read = Err(error),
            }
            count += 1;
        }
        count += skip_rest(list)?;
        if count > PARTS {
            return Ok(Err(ApiError::TooMany { param: dialect.param, count, unit: "parts", limit: PARTS }));
        }
        Ok(read.map(|text| (count > 0).then_some(Content(text))))
    }

    fn other(self, value: Brief) -> Self::Read {
        if value == Brief::Null {
            return Ok(None);
        }
        let expected = "a string or a list of text parts";
        Err(ApiError::WrongType { param: self.place, expected, found: value.kind() })
    }
}

/// Reads one part.
struct PartShape {
    dialect: &'static MessageDialect,
    place: String,
}

impl Shape for PartShape {
    type Read = Result<String, ApiError>;

    fn text(self, text: &str) -> Self::Read {
        Ok(text.to_owned())
    }

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let Self { dialect, place } = self;
        let (mut kind, mut text, mut unknown) = (Brief::Null, None, None);
        while let Some(OwnedText(name)) = object.next_key()? {
            match name.as_str() {
                "type" => kind = object.next_value()?,
                "text" => text = object.next_value_seed(Shaped(TextShape))?.ok(),
                name => {
                    object.next_value::<Brief>()?;
                    let is_known = dialect.part_extras.contains(&name);
                    unknown = unknown.or_else(|| (!is_known).then(|| shortened(name)));
                }
            }
        }
        let is_text = |kind: &Brief| dialect.parts.iter().any(|part| *kind == Brief::text(part));
        Ok(match (text, unknown) {
            _ if !is_text(&kind) => {
                let problem = "must be a text: this server reads no images, sounds or files";
                Err(ApiError::Invalid { param: format!("{place}.type"), problem })
            }
            (_, Some(name)) => Err(ApiError::UnknownFields { names: vec![format!("{place}.{name}")] }),
            (None, _) => Err(ApiError::Invalid { param: format!("{place}.text"), problem: "must be a string" }),
            (Some(text), None) => Ok(text),
        })
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::WrongType { param: self.place, expected: "a text part", found: value.kind() })
    }
}
