//! The scalar fields of a JSON object, and typed readers over them with messages that name the field.
//!
//! Read by `draft`, used by `parse`. It knows types and ranges, not what a field means.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::brief::{Brief, Skipped, TEXT_BYTES};
use super::field::{Absence, Field, Form, Most};
use super::field_table::FieldTable;
use super::shape::Shape;
use crate::api::http::ApiError;

/// Fields that are read.
pub type Known = FieldTable;

/// A client needs to see a few of the names it got wrong; a body may hold a hundred thousand.
const NAMES_SHOWN: usize = 8;

/// The scalar fields of an object. `null` counts as absent everywhere.
#[derive(Debug)]
pub struct Fields {
    known: &'static Known,
    values: Vec<(&'static str, Brief)>,
    /// The first names that are not known, each once.
    unknown: Vec<String>,
    /// Put before names in messages: `stream_options.` for a nested object.
    prefix: &'static str,
}

impl Fields {
    /// No fields yet; `known` are those that are read.
    pub const fn new(known: &'static Known, prefix: &'static str) -> Self {
        Self { known, values: Vec::new(), unknown: Vec::new(), prefix }
    }

    /// Reads `object` up to the value of the next field that is known, and notes the names of the others.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn next_known<'de, A: MapAccess<'de>>(&mut self, object: &mut A) -> Result<Option<&'static str>, A::Error> {
        while let Some(name) = object.next_key_seed(NameSeed(self.known))? {
            match name {
                Name::Known(name) => return Ok(Some(name)),
                Name::Unknown(name) => {
                    object.next_value::<Skipped>()?;
                    if self.unknown.len() < NAMES_SHOWN && !self.unknown.contains(&name) {
                        self.unknown.push(name);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Notes the value of a field, in place of an earlier one.
    pub fn set(&mut self, name: &'static str, value: Brief) {
        self.values.retain(|(other, _)| *other != name);
        self.values.push((name, value));
    }

    /// A field, whatever it is.
    pub fn get(&self, name: &str) -> Option<&Brief> {
        debug_assert!(self.known.get(name).is_some(), "{name} is read from bodies");
        let found = self.values.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value).filter(|value| **value != Brief::Null)
    }

    /// A true-or-false field.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Brief::Boolean(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong_type(name, "true or false", other)),
        }
    }

    /// A text field.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Brief::Text { beginning, bytes }) if beginning.len() == *bytes => Ok(Some(beginning.clone())),
            Some(Brief::Text { bytes, .. }) => {
                Err(ApiError::TooLong { param: self.param(name), bytes: *bytes, limit: TEXT_BYTES })
            }
            Some(other) => Err(self.wrong_type(name, "a string", other)),
        }
    }

    /// A whole number within `low..=high`. `1.0` is not one: OpenAI refuses it too.
    pub fn integer(&self, name: &'static str, low: i64, high: u64) -> Result<Option<i128>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let Some(number) = value.whole_number() else {
            return Err(self.wrong_type(name, "an integer", value));
        };
        if number < i128::from(low) || number > i128::from(high) {
            let range = if high == u64::MAX { format!("at least {low}") } else { format!("between {low} and {high}") };
            return Err(ApiError::OutOfRange { param: name, value: number.to_string(), range });
        }
        Ok(Some(number))
    }

    /// A number for which `accepts` holds; `range` says which those are.
    pub fn number(
        &self,
        name: &'static str,
        default: f64,
        range: &str,
        accepts: impl Fn(f64) -> bool,
    ) -> Result<f64, ApiError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let Brief::Number(number) = value else {
            return Err(self.wrong_type(name, "a number", value));
        };
        match number.as_f64() {
            Some(accepted) if accepts(accepted) => Ok(accepted),
            _ => Err(ApiError::OutOfRange { param: name, value: number.to_string(), range: range.to_owned() }),
        }
    }

    /// A field that is declared as true or false, or its default.
    pub fn flag(&self, field: &Field) -> Result<bool, ApiError> {
        Ok(self.boolean(field.name)?.unwrap_or(field.absence == Absence::Value("true")))
    }

    /// A field that is declared as a whole number of a fixed range, or its default.
    pub fn whole(&self, field: &Field) -> Result<Option<i128>, ApiError> {
        let Form::Integer { least, most: Most::Number(most) } = field.form else {
            unreachable!("{} is declared as a whole number of a fixed range", field.name);
        };
        Ok(self.integer(field.name, least, most)?.or_else(|| default_number(field)))
    }

    /// A field that is declared as a whole number up to a limit, the value of which is `most`, or its default.
    pub fn whole_up_to(&self, field: &Field, most: u64) -> Result<Option<i128>, ApiError> {
        let Form::Integer { least, most: Most::Limit(_) } = field.form else {
            unreachable!("{} is declared as a whole number up to a limit", field.name);
        };
        Ok(self.integer(field.name, least, most)?.or_else(|| default_number(field)))
    }

    /// A field that is declared as a whole number up to a limit, the value of which is `most`, or as a special one.
    pub fn whole_or_special(&self, field: &Field, most: u64) -> Result<Option<i128>, ApiError> {
        let Form::IntegerOr { special, least, .. } = field.form else {
            unreachable!("{} is declared as a whole number up to a limit, or a special one", field.name);
        };
        match self.integer(field.name, i64::MIN, u64::MAX)? {
            Some(number) if number != special.into() && !(i128::from(least)..=most.into()).contains(&number) => {
                let range = format!("between {least} and {most}, or {special}");
                Err(ApiError::OutOfRange { param: field.name, value: number.to_string(), range })
            }
            given => Ok(given.or_else(|| default_number(field))),
        }
    }

    /// A field that is declared as one of several strings, or the first of them.
    pub fn choice(&self, field: &Field) -> Result<&'static str, ApiError> {
        let Form::Choice(values) = field.form else {
            unreachable!("{} is declared as one of several strings", field.name);
        };
        let Some(given) = self.text(field.name)? else { return Ok(values[0]) };
        values.iter().copied().find(|value| *value == given).ok_or_else(|| {
            let range = format!("one of {}", values.join(", "));
            ApiError::OutOfRange { param: field.name, value: format!("{given:?}"), range }
        })
    }

    /// A field that is declared as a number, or its default.
    pub fn real(&self, field: &Field) -> Result<f64, ApiError> {
        let Form::Number { least, most } = field.form else {
            unreachable!("{} is declared as a number", field.name);
        };
        let default = default_number(field).expect("numbers are declared with defaults");
        let range = format!("between {least} and {most}");
        self.number(field.name, default, &range, |number| (least..=most).contains(&number))
    }

    /// Refuses whatever nobody knows.
    pub fn finish(&self) -> Result<(), ApiError> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        Err(ApiError::UnknownFields { names: self.unknown.iter().map(|name| self.param(name)).collect() })
    }

    fn wrong_type(&self, name: &str, expected: &'static str, found: &Brief) -> ApiError {
        ApiError::WrongType { param: self.param(name), expected, found: found.kind() }
    }

    fn param(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn default_number<T: std::str::FromStr>(field: &Field) -> Option<T> {
    let Absence::Value(text) = field.absence else { return None };
    text.parse().ok()
}

/// Reads a nested object of scalar fields; nothing comes of `null`.
pub struct FieldsShape {
    /// Name of the object.
    pub param: &'static str,
    /// Names of its fields.
    pub known: &'static Known,
    /// Put before the names of its fields.
    pub prefix: &'static str,
}

impl Shape for FieldsShape {
    type Read = Option<Result<Fields, ApiError>>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut fields = Fields::new(self.known, self.prefix);
        while let Some(name) = fields.next_known(&mut object)? {
            fields.set(name, object.next_value()?);
        }
        Ok(Some(Ok(fields)))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("an object", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: self.param.to_owned(), expected, found }))
    }
}

/// The name of a field.
enum Name {
    Known(&'static str),
    /// Shortened.
    Unknown(String),
}

struct NameSeed(&'static Known);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(self.0.get(name).map_or_else(|| Name::Unknown(shortened(name)), |known| Name::Known(known.name)))
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
    use std::sync::LazyLock;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::json::Shaped;

    static KNOWN: LazyLock<Known> = LazyLock::new(|| ["a", "b", "c", "d"].into_iter().collect());

    fn fields(json: &str) -> Fields {
        let shape = FieldsShape { param: "object", known: &KNOWN, prefix: "" };
        Shaped(shape).deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap().unwrap().unwrap()
    }

    fn of(value: &Value) -> Fields {
        fields(&value.to_string())
    }

    #[test]
    fn null_counts_as_absent_and_booleans_are_no_numbers() {
        let read = of(&json!({"a": null, "b": true, "c": 1}));
        assert_eq!(read.boolean("a"), Ok(None));
        assert!(matches!(read.integer("b", 0, 9), Err(ApiError::WrongType { found: "a boolean", .. })));
        assert!(matches!(read.boolean("c"), Err(ApiError::WrongType { .. })));
        assert_eq!(read.finish(), Ok(()));
    }

    #[test]
    fn integers_keep_all_64_bits_and_refuse_fractions() {
        let read = of(&json!({"a": u64::MAX, "b": i64::MIN, "c": 1.0, "d": 12}));
        assert_eq!(read.integer("a", i64::MIN, u64::MAX), Ok(Some(i128::from(u64::MAX))));
        assert_eq!(read.integer("b", i64::MIN, u64::MAX), Ok(Some(i128::from(i64::MIN))));
        assert!(matches!(read.integer("c", 0, 9), Err(ApiError::WrongType { expected: "an integer", .. })));
        assert!(matches!(read.integer("d", 0, 9), Err(ApiError::OutOfRange { param: "d", .. })));
    }

    #[test]
    fn of_a_field_that_is_given_twice_the_last_value_counts() {
        assert_eq!(fields("{\"a\": true, \"b\": 1, \"a\": false}").boolean("a"), Ok(Some(false)));
        assert_eq!(fields("{\"a\": 1, \"a\": null}").boolean("a"), Ok(None));
    }

    #[test]
    fn a_text_beyond_what_is_kept_is_told_its_length() {
        let read = of(&json!({"a": "é".repeat(TEXT_BYTES / 2), "b": "é".repeat(TEXT_BYTES)}));
        assert_eq!(read.text("a").unwrap().unwrap().len(), TEXT_BYTES);
        let refused = ApiError::TooLong { param: "b".to_owned(), bytes: 2 * TEXT_BYTES, limit: TEXT_BYTES };
        assert_eq!(read.text("b"), Err(refused));
    }

    const SOME: Field = Field::integer("a", 0, Most::Limit("choices")).or("7");

    #[test]
    fn declared_fields_have_their_ranges_and_defaults() {
        let any = Field::integer("b", i64::MIN, Most::Number(u64::MAX));
        let share = Field::number("c", 0.0, 1.0).or("0.5");
        let (on, off) = (Field::boolean("d").or("true"), Field::boolean("d"));
        let absent = of(&json!({}));
        assert_eq!((absent.whole_up_to(&SOME, 9), absent.whole(&any)), (Ok(Some(7)), Ok(None)));
        assert_eq!((absent.real(&share), absent.flag(&on), absent.flag(&off)), (Ok(0.5), Ok(true), Ok(false)));
        let given = of(&json!({"a": 12, "b": i64::MIN, "c": 1.5, "d": false}));
        assert!(matches!(given.whole_up_to(&SOME, 9), Err(ApiError::OutOfRange { param: "a", .. })));
        assert_eq!((given.whole_up_to(&SOME, 12), given.flag(&on)), (Ok(Some(12)), Ok(false)));
        assert_eq!(given.whole(&any), Ok(Some(i128::from(i64::MIN))));
        let range = "between 0 and 1".to_owned();
        assert_eq!(given.real(&share), Err(ApiError::OutOfRange { param: "c", value: "1.5".to_owned(), range }));
    }

    #[test]
    fn unknown_names_are_listed_once_in_order_and_bounded() {
        let many: Vec<String> = (0..100_000).map(|index| format!("\"x{index}\":1")).collect();
        let read = fields(&format!("{{\"x0\":[],{}}}", many.join(",")));
        let Err(ApiError::UnknownFields { names }) = read.finish() else { panic!("refused") };
        assert_eq!(names, ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"]);
        let read = fields(&format!("{{\"{}\":1}}", "é".repeat(1000)));
        let Err(ApiError::UnknownFields { names }) = read.finish() else { panic!("refused") };
        assert_eq!(names[0].chars().count(), 67);
    }
}
