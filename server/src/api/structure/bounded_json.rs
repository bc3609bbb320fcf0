//! A JSON value that is kept as a whole, as long as it is not too large.
//!
//! Used by `draft`. Of a value that is too large the rest is read and counted, and not kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::api::http::ApiError;
use crate::api::json::json_bytes;

/// Reads the value of a field; nothing comes of `null`.
#[derive(Debug, Clone, Copy)]
pub struct BoundedJsonShape {
    /// Name of the field in errors.
    pub param: &'static str,
    /// Most bytes of the value as JSON without white space.
    pub most: usize,
}

impl<'de> DeserializeSeed<'de> for BoundedJsonShape {
    type Value = Option<Result<Value, ApiError>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut bytes = 0;
        let value = deserializer.deserialize_any(Reader { bytes: &mut bytes, most: self.most })?;
        if bytes > self.most {
            return Ok(Some(Err(ApiError::TooLong { param: self.param.to_owned(), bytes, limit: self.most })));
        }
        Ok((value != Value::Null).then_some(Ok(value)))
    }
}

/// Reads a value, and counts its bytes.
struct Reader<'a> {
    bytes: &'a mut usize,
    most: usize,
}

impl Reader<'_> {
    fn scalar(self, value: Value, bytes: usize) -> Value {
        *self.bytes += bytes;
        value
    }

    fn is_full(&self) -> bool {
        *self.bytes > self.most
    }

    fn inner(&mut self) -> Reader<'_> {
        Reader { bytes: self.bytes, most: self.most }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(self.scalar(Value::Null, 4))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(self.scalar(value.into(), 5))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.scalar(value.into(), value.to_string().len()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(self.scalar(value.into(), value.to_string().len()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has no others than finite ones.
        let value = Number::from_f64(value).map_or(Value::Null, Value::Number);
        let bytes = value.to_string().len();
        Ok(self.scalar(value, bytes))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        let bytes = json_bytes(value);
        let kept = if *self.bytes + bytes > self.most { Value::Null } else { value.into() };
        Ok(self.scalar(kept, bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        *self.bytes += 2;
        let mut read = Vec::new();
        while let Some(value) = list.next_element_seed(self.inner())? {
            *self.bytes += 1;
            if self.is_full() {
                read = Vec::new();
            } else {
                read.push(value);
            }
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        *self.bytes += 2;
        let mut read = Map::new();
        while let Some(name) = object.next_key_seed(self.inner())? {
            let value = object.next_value_seed(self.inner())?;
            *self.bytes += 2;
            match name {
                Value::String(name) if !self.is_full() => _ = read.insert(name, value),
                _ => read = Map::new(),
            }
        }
        Ok(Value::Object(read))
    }
}
