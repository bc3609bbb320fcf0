//! Reads a JSON value of which more than a [`Brief`] is kept: a text, or a list or an object whose parts are read one
//! by one.
//!
//! Used by `fields` and by the readers of single fields. A value of the wrong type is no error of JSON: the shape
//! decides what becomes of it, and the rest of the body is still read.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::brief::{Brief, BriefVisitor};

/// A way to read a value. Lists and objects must be read to their ends.
pub trait Shape: Sized {
    /// The result.
    type Read;

    /// The value is a text.
    fn text(self, text: &str) -> Self::Read {
        self.other(Brief::text(text))
    }

    /// The value is a list.
    ///
    /// # Errors
    /// When it is no JSON.
    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Self::Read, A::Error> {
        BriefVisitor.visit_seq(list).map(|brief| self.other(brief))
    }

    /// The value is an object.
    ///
    /// # Errors
    /// When it is no JSON.
    fn object<'de, A: MapAccess<'de>>(self, object: A) -> Result<Self::Read, A::Error> {
        BriefVisitor.visit_map(object).map(|brief| self.other(brief))
    }

    /// The value is something else, or of a kind that the shape does not read.
    fn other(self, value: Brief) -> Self::Read;
}

/// Reads a value as the shape says.
pub struct Shaped<S>(pub S);

impl<'de, S: Shape> DeserializeSeed<'de> for Shaped<S> {
    type Value = S::Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Read, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape> Visitor<'de> for Shaped<S> {
    type Value = S::Read;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<S::Read, E> {
        Ok(self.0.other(Brief::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<S::Read, E> {
        Ok(self.0.other(Brief::Boolean(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<S::Read, E> {
        Ok(self.0.other(Brief::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<S::Read, E> {
        Ok(self.0.other(Brief::Number(value.into())))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<S::Read, E> {
        BriefVisitor.visit_f64(value).map(|brief| self.0.other(brief))
    }

    fn visit_str<E>(self, value: &str) -> Result<S::Read, E> {
        Ok(self.0.text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S::Read, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<S::Read, A::Error> {
        self.0.object(object)
    }
}
