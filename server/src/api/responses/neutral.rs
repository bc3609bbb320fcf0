//! Fields of responses that OpenAI or vLLM know and this server does not support, with the values that change nothing.
//!
//! Used by `parse`, `draft` and `input`. A field that gets supported leaves its table.

use std::sync::LazyLock;

use crate::api::fields::{GENERATION_NEUTRAL, NO_TEMPLATES, NO_TOOLS, NeutralFields};
use crate::api::http::ApiError;
use crate::api::json::{FieldTable, Fields, FieldsShape, Neutral};

const NOTHING_STORED: &str = "is not supported: this server stores no responses. Leave it out and send the whole \
                              conversation in 'input'";
const ONLY_MESSAGES: &str = "must be message: this server takes no other items, because it calls no tools and stores \
                             no responses";

/// Fields of the request itself: those of every generating endpoint, and its own.
pub const REQUEST: [NeutralFields; 2] = [GENERATION_NEUTRAL, OWN];

const OWN: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        // OpenAI.
        ("access_programs", Neutral::Null),
        ("background", Neutral::Boolean(false)),
        ("context_management", Neutral::EmptyList),
        ("conversation", Neutral::Never(NOTHING_STORED)),
        ("image", Neutral::Null),
        ("moderation", Neutral::Null),
        ("previous_response_id", Neutral::Never(NOTHING_STORED)),
        ("prompt", Neutral::Never(NOTHING_STORED)),
        ("prompt_cache_options", Neutral::Anything),
        ("service_tier", Neutral::Text("auto")),
        ("store", Neutral::Boolean(false)),
        ("tools", Neutral::EmptyBecause(NO_TOOLS)),
        ("truncation", Neutral::Text("disabled")),
        // vLLM.
        ("chat_template", Neutral::Never(NO_TEMPLATES)),
        ("media_io_kwargs", Neutral::Null),
        ("prompt_logprobs", Neutral::Null),
    ],
};

/// Fields of a message. Those of an answer may come back as they were sent.
pub const ITEM: NeutralFields = NeutralFields {
    prefix: "input[].",
    table: &[
        ("input[].id", Neutral::Anything),
        ("input[].phase", Neutral::Anything),
        ("input[].status", Neutral::Anything),
        ("input[].type", Neutral::TextBecause("message", ONLY_MESSAGES)),
    ],
};

/// An object of the request, none of whose fields is supported.
pub struct NeutralObject {
    /// Its name.
    pub name: &'static str,
    fields: NeutralFields,
    declared: LazyLock<FieldTable>,
}

impl NeutralObject {
    const fn new(name: &'static str, fields: NeutralFields, declare: fn() -> FieldTable) -> Self {
        Self { name, fields, declared: LazyLock::new(declare) }
    }

    /// Its fields, declared.
    pub fn declared(&'static self) -> &'static FieldTable {
        &self.declared
    }

    /// Reads it; nothing comes of `null`.
    pub fn shape(&'static self) -> FieldsShape {
        FieldsShape { param: self.name, known: &self.declared, prefix: self.fields.prefix }
    }

    /// The value of one of its fields that is a text, where it was read without an error.
    pub fn text(&self, read: Option<&Result<Fields, ApiError>>, name: &'static str) -> Option<String> {
        read?.as_ref().ok()?.text(name).ok().flatten()
    }

    /// Refuses what was read when it asks for something.
    ///
    /// # Errors
    /// The error of its form, or of the first field with another value than its neutral one.
    pub fn check(&self, read: Option<Result<Fields, ApiError>>) -> Result<(), ApiError> {
        let Some(read) = read else { return Ok(()) };
        let fields = read?;
        self.fields.check(&fields)?;
        fields.finish()
    }
}

/// `reasoning`: how the model reasons.
pub static REASONING: NeutralObject =
    NeutralObject::new("reasoning", REASONING_FIELDS, || FieldTable::new(REASONING_FIELDS.declared()));
const REASONING_FIELDS: NeutralFields = NeutralFields {
    prefix: "reasoning.",
    table: &[
        ("reasoning.context", Neutral::Anything),
        ("reasoning.effort", Neutral::Text("none")),
        ("reasoning.generate_summary", Neutral::Null),
        ("reasoning.mode", Neutral::Text("standard")),
        ("reasoning.summary", Neutral::Null),
    ],
};

/// `stream_options`: what a stream holds.
pub static STREAM_OPTIONS: NeutralObject =
    NeutralObject::new("stream_options", STREAM_FIELDS, || FieldTable::new(STREAM_FIELDS.declared()));
const STREAM_FIELDS: NeutralFields =
    NeutralFields { prefix: "stream_options.", table: &[("stream_options.include_obfuscation", Neutral::Anything)] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_tables_is_documented() {
        let page = include_str!("../../../../docs/api.md");
        let (_, section) = page.split_once("\n## Fields that responses do not support\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let objects = REQUEST.into_iter().chain([ITEM, REASONING_FIELDS, STREAM_FIELDS]);
        for (name, _) in objects.flat_map(|object| object.table) {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }
}
