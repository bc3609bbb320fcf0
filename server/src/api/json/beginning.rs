//! A text in the beginning of a JSON object whose end has not arrived yet.
//!
//! Used while a large body is received.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};

/// The text of the field `name`, if it stands in the beginning of the object as a whole. The time is that of reading
/// the beginning once.
pub fn text_in_beginning(beginning: &[u8], name: &str) -> Option<String> {
    let mut found = None;
    let finder = Finder { name, found: &mut found };
    // An object without its end is an error, which says nothing about what was found before.
    let _ = serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_slice(beginning), finder);
    found
}

struct Finder<'a> {
    name: &'a str,
    found: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Cow<'de, str>>()? {
            if key == self.name {
                *self.found = object.next_value()?;
                return Ok(());
            }
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_if_it_is_there_as_a_whole() {
        let found = |beginning: &str| text_in_beginning(beginning.as_bytes(), "model");
        for beginning in [
            r#"{"model": "a", "prompt": "and so"#,
            r#"{"n": [1, {"model": "b"}], "mo\u0064el" : "a""#,
            r#"{"model": "a"}"#,
        ] {
            assert_eq!(found(beginning).as_deref(), Some("a"), "{beginning}");
        }
        for beginning in [r#"{"model": "a"#, r#"{"prompt": "model"#, r#"{"model": null, "#, r#"{"model": 7}"#, "[", ""]
        {
            assert_eq!(found(beginning), None, "{beginning}");
        }
    }
}
