//! A JSON value in brief: a scalar, the beginning of a text, or a larger value's type and whether it is empty.
//!
//! Used by `fields`, `neutral` and the readers of lists. However long a value is, a [`Brief`] takes at most a kilobyte,
//! and what is [`Skipped`] nothing.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Bytes that are kept of a text: more than a name or a secret has.
pub const TEXT_BYTES: usize = 1024;

/// A value in brief.
#[derive(Debug, Clone, PartialEq)]
pub enum Brief {
    /// `null`.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text {
        /// Its first [`TEXT_BYTES`] at most.
        beginning: String,
        /// How long it is.
        bytes: usize,
    },
    /// A list.
    List {
        /// Whether nothing is in it.
        is_empty: bool,
        /// The beginning of its only element where that is a text.
        only_text: Option<String>,
    },
    /// An object.
    Object,
}

impl Brief {
    /// A text.
    pub fn text(text: &str) -> Self {
        let beginning = text[..text.floor_char_boundary(TEXT_BYTES)].to_owned();
        Self::Text { beginning, bytes: text.len() }
    }

    /// The number as a whole one, when it is written as one.
    pub fn whole_number(&self) -> Option<i128> {
        let Self::Number(number) = self else { return None };
        number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
    }

    /// The number.
    pub fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { number.as_f64() } else { None }
    }

    /// The type in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Number(number) if number.is_f64() => "a number with a fraction or out of 64 bits",
            Self::Number(_) => "a number",
            Self::Text { .. } => "a string",
            Self::List { .. } => "a list",
            Self::Object => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Brief {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BriefVisitor)
    }
}

/// Reads a [`Brief`].
pub struct BriefVisitor;

impl<'de> Visitor<'de> for BriefVisitor {
    type Value = Brief;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Brief, E> {
        Ok(Brief::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Brief, E> {
        Ok(Brief::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Brief, E> {
        Ok(Brief::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Brief, E> {
        Ok(Brief::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Brief, E> {
        // JSON has no others than finite ones.
        Ok(Number::from_f64(value).map_or(Brief::Null, Brief::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Brief, E> {
        Ok(Brief::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Brief, A::Error> {
        let first: Option<Brief> = list.next_element()?;
        let (is_empty, others) = (first.is_none(), skip_rest(list)?);
        let only_text = match first {
            Some(Brief::Text { beginning, .. }) if others == 0 => Some(beginning),
            _ => None,
        };
        Ok(Brief::List { is_empty, only_text })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Brief, A::Error> {
        while map.next_key::<Skipped>()?.is_some() {
            map.next_value::<Skipped>()?;
        }
        Ok(Brief::Object)
    }
}

/// A text that is kept as a whole, such as a name that is short.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OwnedText(pub String);

/// Reads a list to its end and counts what was left of it.
pub fn skip_rest<'de, A: SeqAccess<'de>>(mut list: A) -> Result<usize, A::Error> {
    let mut count = 0;
    while list.next_element::<Skipped>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// A value of which nothing is kept. It is checked as strictly as any other, which serde's `IgnoredAny` is not: nesting
/// has the same limit, and escapes have to be characters.
#[derive(Debug, Clone, Copy)]
pub struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self, A::Error> {
        skip_rest(list).map(|_| self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_key::<Self>()?.is_some() {
            map.next_value::<Self>()?;
        }
        Ok(self)
    }
}
