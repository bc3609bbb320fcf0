//! A field of a body, declared once: the parser takes its name, range and default from here, and so do the OpenAPI
//! document and the test of the tables in docs/api.md.
//!
//! Declared by the rooms of single routes, read by `fields` and `schema`.

use utoipa::openapi::Schema;

use super::field_table::FieldTable;
use super::limit_values::LimitValues;
use super::neutral::Neutral;

/// A field of a body.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name in its object.
    pub name: &'static str,
    /// Values that are accepted.
    pub form: Form,
    /// Meaning of its absence, which `null` counts as.
    pub absence: Absence,
    /// Meaning, in Markdown; `{choices}` stands for the value of `limits.choices`.
    pub about: &'static str,
}

/// Values that a field accepts.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// `true` or `false`.
    Boolean,
    /// A whole number, written as one.
    Integer {
        /// Smallest.
        least: i64,
        /// Largest.
        most: Most,
    },
    /// A whole number of a range, or one that stands for something else.
    IntegerOr {
        /// The one outside the range.
        special: i64,
        /// Smallest.
        least: i64,
        /// Name of the setting under `[limits]` that is the largest.
        most: &'static str,
    },
    /// A number.
    Number {
        /// Smallest.
        least: f64,
        /// Largest.
        most: f64,
    },
    /// A string of at most a kilobyte.
    Text {
        /// Fewest characters.
        least: usize,
    },
    /// One of these strings; the first one is the default.
    Choice(&'static [&'static str]),
    /// An object of fields.
    Object(fn() -> &'static FieldTable),
    /// A value with a reader of its own, and its schema.
    Shape(fn(&LimitValues) -> Schema),
    /// A value of which nothing is declared.
    Any,
    /// Only a value that changes nothing: the field is known elsewhere and not supported here.
    Neutral(Neutral),
}

/// Largest value of a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Most {
    /// This number.
    Number(u64),
    /// The value of the setting with this name under `[limits]`.
    Limit(&'static str),
}

/// Meaning of a field's absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// An error.
    Required,
    /// A default that is no single value, in words.
    Means(&'static str),
    /// This default, as JSON.
    Value(&'static str),
}

impl Field {
    const fn new(name: &'static str, form: Form) -> Self {
        Self { name, form, absence: Absence::Means("none"), about: "" }
    }

    /// A field that is true or false; false when absent.
    pub const fn boolean(name: &'static str) -> Self {
        Self { absence: Absence::Value("false"), ..Self::new(name, Form::Boolean) }
    }

    /// A field of a whole number.
    pub const fn integer(name: &'static str, least: i64, most: Most) -> Self {
        Self::new(name, Form::Integer { least, most })
    }

    /// A field of a whole number up to a limit, or of a special one.
    pub const fn integer_or(name: &'static str, special: i64, least: i64, most: &'static str) -> Self {
        Self::new(name, Form::IntegerOr { special, least, most })
    }

    /// A field of a number.
    pub const fn number(name: &'static str, least: f64, most: f64) -> Self {
        Self::new(name, Form::Number { least, most })
    }

    /// A field of a string.
    pub const fn text(name: &'static str) -> Self {
        Self::new(name, Form::Text { least: 0 })
    }

    /// A field of a string that is not empty.
    pub const fn nonempty_text(name: &'static str) -> Self {
        Self::new(name, Form::Text { least: 1 })
    }

    /// A field of one of these strings. Its default is declared to be the first one.
    pub const fn choice(name: &'static str, values: &'static [&'static str]) -> Self {
        Self::new(name, Form::Choice(values))
    }

    /// A field of which nothing but its name is declared.
    pub const fn any(name: &'static str) -> Self {
        Self::new(name, Form::Any)
    }

    /// A field of an object.
    pub const fn object(name: &'static str, fields: fn() -> &'static FieldTable) -> Self {
        Self::new(name, Form::Object(fields))
    }

    /// A field with a reader of its own.
    pub const fn shape(name: &'static str, schema: fn(&LimitValues) -> Schema) -> Self {
        Self::new(name, Form::Shape(schema))
    }

    /// A field that only a value which changes nothing may have.
    pub const fn neutral(name: &'static str, neutral: Neutral) -> Self {
        let about = match neutral {
            Neutral::Anything => "Any value is accepted and changes nothing.",
            _ => "Accepted only with a value that changes nothing.",
        };
        Self { about, ..Self::new(name, Form::Neutral(neutral)) }
    }

    /// Declares that it must not be absent.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { absence: Absence::Required, ..self }
    }

    /// Declares its default, as JSON.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { absence: Absence::Value(default), ..self }
    }

    /// Declares in words what its absence means.
    #[must_use]
    pub const fn absent(self, meaning: &'static str) -> Self {
        Self { absence: Absence::Means(meaning), ..self }
    }

    /// Declares what it means.
    #[must_use]
    pub const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Its row in a table of docs/api.md, for the test of those, with `prefix` before its name.
    #[cfg(test)]
    pub fn row(&self, prefix: &str, limits: &LimitValues) -> String {
        let default = match self.absence {
            Absence::Required => "required".to_owned(),
            Absence::Means(words) => words.to_owned(),
            Absence::Value(number) if number.starts_with(|first: char| first.is_ascii_digit()) => number.to_owned(),
            Absence::Value(value) => format!("`{value}`"),
        };
        format!("| `{prefix}{}` | {default} | {} |", self.name, limits.fill(self.about))
    }
}
