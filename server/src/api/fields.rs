//! A body as JSON, and typed readers over the fields of an object, with messages that name the field.
//!
//! Used by `request`. It knows types and ranges, not what a field means.

use serde_json::error::Category;
use serde_json::{Map, Value};

use super::error::ApiError;

/// The fields of an object that were not read yet. `null` counts as absent everywhere.
pub struct Fields {
    left: Map<String, Value>,
    /// Put before names in messages: `stream_options.` for a nested object.
    prefix: &'static str,
}

impl Fields {
    /// All fields of `object`.
    pub fn new(object: Map<String, Value>, prefix: &'static str) -> Self {
        Self { left: object, prefix }
    }

    /// The fields of a request's body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(body).map_err(|error| ApiError::NotUtf8 { offset: error.valid_up_to() })?;
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Self::new(object, "")),
            Ok(other) => Err(ApiError::NotAnObject { found: kind(&other) }),
            Err(_) if text.trim().is_empty() => Err(ApiError::MalformedJson { problem: "it is empty".to_owned() }),
            Err(error) => Err(ApiError::MalformedJson { problem: json_problem(&error) }),
        }
    }

    /// Takes a field out, whatever it is.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        // Order matters only for the message about the rest.
        self.left.shift_remove(name).filter(|value| !value.is_null())
    }

    /// A true-or-false field.
    pub fn boolean(&mut self, name: &'static str, default: bool) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(self.wrong_type(name, "true or false", &other)),
        }
    }

    /// A text field.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong_type(name, "a string", &other)),
        }
    }

    /// A whole number within `low..=high`. `1.0` is not one: OpenAI refuses it too.
    pub fn integer(&mut self, name: &'static str, low: i64, high: u64) -> Result<Option<i128>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let whole = whole_number(&value);
        let Some(number) = whole else {
            return Err(self.wrong_type(name, "an integer", &value));
        };
        if number < i128::from(low) || number > i128::from(high) {
            let range = if high == u64::MAX { format!("at least {low}") } else { format!("between {low} and {high}") };
            return Err(ApiError::OutOfRange { param: name, value: value.to_string(), range });
        }
        Ok(Some(number))
    }

    /// A number for which `accepts` holds; `range` says which those are.
    pub fn number(
        &mut self,
        name: &'static str,
        default: f64,
        range: &str,
        accepts: impl Fn(f64) -> bool,
    ) -> Result<f64, ApiError> {
        let Some(value) = self.take(name) else { return Ok(default) };
        let Some(number) = value.as_f64() else {
            return Err(self.wrong_type(name, "a number", &value));
        };
        if !accepts(number) {
            return Err(ApiError::OutOfRange { param: name, value: value.to_string(), range: range.to_owned() });
        }
        Ok(number)
    }

    /// A nested object.
    pub fn object(&mut self, name: &'static str, prefix: &'static str) -> Result<Option<Self>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self::new(object, prefix))),
            Some(other) => Err(self.wrong_type(name, "an object", &other)),
        }
    }

    /// Refuses whatever nobody asked for.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.left.is_empty() {
            return Ok(());
        }
        // A body may hold a hundred thousand names; a client needs to see a few.
        let names = self.left.keys().take(8).map(|name| format!("{}{}", self.prefix, shortened(name))).collect();
        Err(ApiError::UnknownFields { names })
    }

    fn wrong_type(&self, name: &str, expected: &'static str, found: &Value) -> ApiError {
        ApiError::WrongType { param: format!("{}{name}", self.prefix), expected, found: kind(found) }
    }
}

/// The value as a whole number, when it is written as one.
pub fn whole_number(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// What a JSON value is, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction or out of 64 bits",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

const LONE_SURROGATE: [&str; 2] = ["lone leading surrogate", "unexpected end of hex escape"];

fn json_problem(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match error.classify() {
        Category::Syntax if said.starts_with("recursion limit exceeded") => {
            format!("it is nested too deeply (line {} column {})", error.line(), error.column())
        }
        // The parser says so only where half of a surrogate pair stands alone.
        Category::Syntax if LONE_SURROGATE.iter().any(|words| said.starts_with(words)) => format!(
            "a lone surrogate escape (\\ud800 to \\udfff) is no character (line {} column {})",
            error.line(),
            error.column()
        ),
        _ => said,
    }
}

/// The beginning of a name that a client made up, for messages.
pub fn shortened(name: &str) -> String {
    const SHOWN: usize = 64;
    match name.char_indices().nth(SHOWN) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}...", &name[..end]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(object) = value else { panic!("an object") };
        Fields::new(object, "")
    }

    #[test]
    fn null_is_the_default_and_booleans_are_no_numbers() {
        let mut read = fields(json!({"a": null, "b": true, "c": 1}));
        assert_eq!(read.boolean("a", true), Ok(true));
        assert!(matches!(read.integer("b", 0, 9), Err(ApiError::WrongType { found: "a boolean", .. })));
        assert!(matches!(read.boolean("c", false), Err(ApiError::WrongType { .. })));
        assert_eq!(read.finish(), Ok(()));
    }

    #[test]
    fn integers_keep_all_64_bits_and_refuse_fractions() {
        let mut read = fields(json!({"a": u64::MAX, "b": i64::MIN, "c": 1.0, "d": 12}));
        assert_eq!(read.integer("a", i64::MIN, u64::MAX), Ok(Some(i128::from(u64::MAX))));
        assert_eq!(read.integer("b", i64::MIN, u64::MAX), Ok(Some(i128::from(i64::MIN))));
        assert!(matches!(read.integer("c", 0, 9), Err(ApiError::WrongType { expected: "an integer", .. })));
        assert!(matches!(read.integer("d", 0, 9), Err(ApiError::OutOfRange { param: "d", .. })));
    }

    #[test]
    fn leftover_names_are_listed_in_order_and_bounded() {
        let object = (0..100_000).map(|index| (format!("x{index}"), json!(1))).collect();
        let Err(ApiError::UnknownFields { names }) = Fields::new(object, "").finish() else { panic!("refused") };
        assert_eq!(names.len(), 8);
        assert_eq!(names[0], "x0");
        let long = Map::from_iter([("é".repeat(1000), json!(1))]);
        let Err(ApiError::UnknownFields { names }) = Fields::new(long, "").finish() else { panic!("refused") };
        assert_eq!(names[0].chars().count(), 67);
    }
}
