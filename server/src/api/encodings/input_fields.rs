//! The fields that all routes of the encoder have, declared.
//!
//! Part of the table of each route.

use utoipa::openapi::Schema;

use crate::api::fields::{MODEL, NeutralFields, TIMEOUT, TRUNCATE_PROMPT_TOKENS, TRUNCATION_SIDE, texts_or_ids_schema};
use crate::api::json::{Field, FieldTable, LimitValues, Neutral};

/// Name of the field that holds the inputs.
pub const INPUT: &str = "input";
/// Whether the tokenizer frames inputs.
pub const ADD_SPECIAL_TOKENS: Field = Field::boolean("add_special_tokens").or("true").about(
    "Whether the tokenizer frames an `input` given as text as the model was trained (Gemma: `<bos>` in front). It does \
     not apply to ids.",
);

/// Inputs, and how they are read.
pub const COMMON: [Field; 6] = [
    Field::shape(INPUT, inputs_schema).required().about(
        "A string, a list of strings, a list of token ids, or a list of lists of token ids. At most {inputs} inputs, \
         and no more than the queue has places; each has at least one token and at most as many as the model reads, \
         unless it is truncated.",
    ),
    ADD_SPECIAL_TOKENS,
    TRUNCATE_PROMPT_TOKENS,
    TRUNCATION_SIDE,
    MODEL,
    TIMEOUT,
];

/// Fields that OpenAI or vLLM know and that change nothing here.
pub const NEUTRAL: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        ("cache_salt", Neutral::Anything),
        ("priority", Neutral::Number(0.0)),
        ("request_id", Neutral::Null),
        ("user", Neutral::Anything),
    ],
};

/// The fields of a route with these fields of its own.
pub fn table(own: &[Field]) -> FieldTable {
    FieldTable::new(COMMON.into_iter().chain(own.iter().copied()).chain(NEUTRAL.declared()))
}

fn inputs_schema(limits: &LimitValues) -> Schema {
    texts_or_ids_schema(limits.count("inputs"))
}

#[cfg(test)]
mod tests {
    use super::super::{classify, embeddings, encode, pooling};
    use super::*;
    use crate::api::json::{Documented, hold_tables};

    #[test]
    fn the_page_s_tables_say_what_is_declared() {
        let parts: [&[Field]; 5] = [&COMMON, &embeddings::OWN, &encode::OWN, &classify::OWN, &pooling::OWN];
        let documented = parts.map(|fields| {
            let fields: &'static FieldTable = Box::leak(Box::new(FieldTable::new(fields.iter().copied())));
            Documented { prefix: "", fields }
        });
        hold_tables("Fields of the encoder's routes", &documented);
    }

    #[test]
    fn every_unsupported_field_is_documented() {
        let page = include_str!("../../../../docs/api.md");
        let (_, section) = page.split_once("\n## Fields of the encoder's routes\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        for name in NEUTRAL.names() {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }
}
