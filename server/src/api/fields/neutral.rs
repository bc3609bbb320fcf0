//! Tables of fields that are not supported, and may be given with a value that changes nothing.
//!
//! Used by the tables of unsupported fields in the rooms of endpoints.

use crate::api::http::ApiError;
use crate::api::json::{Field, Fields, Neutral};

/// Why tools are refused.
pub const NO_TOOLS: &str = "is not supported: this server's models call no tools. Describe the form of the answer \
                            that you want in a message, and leave it out";
/// Why templates are refused.
pub const NO_TEMPLATES: &str = "is not taken from requests, because templates are programs: the server's operator \
                                sets one with --chat-template FILE";

/// Unsupported fields of one object, by their names in errors: `stream_options.` stands before the names of a nested
/// object's fields.
#[derive(Debug, Clone, Copy)]
pub struct NeutralFields {
    /// Put before the names of the object's fields.
    pub prefix: &'static str,
    /// Full names with their neutral values.
    pub table: &'static [(&'static str, Neutral)],
}

impl NeutralFields {
    /// Names of the fields as they stand in the object.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.table.iter().map(move |(param, _)| self.name(param))
    }

    /// The fields, declared.
    pub fn declared(self) -> impl Iterator<Item = Field> {
        self.names().zip(self.table).map(|(name, (_, neutral))| Field::neutral(name, *neutral))
    }

    /// Refuses a request when one of the fields asks for something.
    ///
    /// # Errors
    /// [`ApiError::Unsupported`] for the first such field of the table.
    pub fn check(self, fields: &Fields) -> Result<(), ApiError> {
        for &(param, neutral) in self.table {
            if let Some(value) = fields.get(self.name(param))
                && !neutral.accepts(value)
            {
                return Err(match neutral.reason() {
                    Some(problem) => ApiError::Invalid { param: param.to_owned(), problem },
                    None => ApiError::Unsupported { param, neutral: neutral.words() },
                });
            }
        }
        Ok(())
    }

    fn name(self, param: &'static str) -> &'static str {
        param.strip_prefix(self.prefix).expect("the table's names carry the prefix")
    }
}
