//! The fields of both endpoints, declared: names, types, defaults and meanings.
//!
//! Read by `body` and `parse`, and by the OpenAPI document. Fields of other servers are known, and refused with a value
//! that would mean something.

use std::sync::LazyLock;

use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::{ObjectBuilder, RefOr};

use crate::api::fields::{
    CACHE_SALT, MODEL, NeutralFields, TIMEOUT, TRUNCATE_PROMPT_TOKENS, TRUNCATION_SIDE, prompts_schema,
    texts_or_ids_schema,
};
use crate::api::json::{Field, FieldTable, LimitValues, Most, Neutral, any_of, ids_schema, list_schema, text_schema};

/// Names of the sources of a scoring request, the first one for errors.
pub const SOURCES: [&str; 3] = ["text_1", "queries", "data_1"];
/// Names of the targets of a scoring request, the first one for errors.
pub const TARGETS: [&str; 4] = ["text_2", "documents", "items", "data_2"];
/// The query of a reranking request.
pub const QUERY: &str = "query";
/// The documents of a reranking request.
pub const DOCUMENTS: &str = "documents";

/// How pairs are scored.
pub const METHOD: Field = Field::choice("method", &["likelihood", "embedding"]).or("\"likelihood\"").about(
    "`likelihood` (log p(target \\| source)) or `embedding` (the cosine of both texts' mean encoder states, which \
     needs no decoder).",
);
/// Whether likelihoods are divided by numbers of tokens.
pub const LENGTH_NORMALIZE: Field = Field::boolean("length_normalize")
    .or("true")
    .about("Divide the log-probability by the number of scored tokens. Only with the method `likelihood`.");
/// Whether the end of a target is scored.
pub const SCORE_END: Field = Field::boolean("score_end").or("true").about(
    "Score the end token after the target: the target is a whole text, not the beginning of one. A target whose \
     end was truncated has none. Only with the method `likelihood`.",
);
/// Whether the tokenizer frames what the encoder reads.
pub const ADD_SPECIAL_TOKENS: Field = Field::boolean("add_special_tokens").or("true").about(
    "Whether the tokenizer frames texts that the encoder reads as the model was trained (Gemma: `<bos>` in front).",
);
/// Most documents of the answer.
pub const TOP_N: Field =
    Field::integer("top_n", 0, Most::Number(u64::MAX)).or("0").about("Give the best `top_n` documents; 0 gives all.");
/// Whether the answer repeats documents.
pub const RETURN_DOCUMENTS: Field =
    Field::boolean("return_documents").or("true").about("Repeat each document's text in the answer.");
/// The side that is the source.
pub const SOURCE: Field = Field::choice("source", &["query", "documents"]).or("\"query\"").about(
    "`query`: the query is the source and each document a target. `documents`: each document is a source, after which \
     the query is scored; at most {prompts} documents then.",
);

/// All fields of a scoring request.
pub static SCORE_FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    let fields = SCORED.into_iter().chain(OPTIONS).chain(UNSUPPORTED.declared());
    FieldTable::new(fields)
});
/// All fields of a reranking request.
pub static RERANK_FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    let unsupported = UNSUPPORTED.declared().chain(UNSUPPORTED_IN_RANKINGS.declared());
    FieldTable::new(RANKED.into_iter().chain(OPTIONS).chain(unsupported))
});

/// Fields of both endpoints that this server does not support.
pub const UNSUPPORTED: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        ("activation", Neutral::Null),
        ("instruction", Neutral::Null),
        ("mm_processor_kwargs", Neutral::Null),
        ("priority", Neutral::Number(0.0)),
        ("softmax", Neutral::Null),
        ("use_activation", Neutral::Null),
        ("user", Neutral::Anything),
    ],
};

/// Fields of reranking requests that this server does not support.
pub const UNSUPPORTED_IN_RANKINGS: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        ("max_chunks_per_doc", Neutral::Null),
        ("max_tokens_per_doc", Neutral::Null),
        ("rank_fields", Neutral::Null),
    ],
};

const SCORED: [Field; 7] = [
    Field::shape(SOURCES[0], prompts_schema).absent("required").about(
        "The sources: a string, a list of strings, a list of token ids, or a list of lists of token ids. One, or as \
         many as there are targets; at most {prompts}.",
    ),
    Field::shape(TARGETS[0], targets_schema)
        .absent("required")
        .about("The targets, in the same forms; at most {total_choices}."),
    Field::shape(SOURCES[1], prompts_schema).about("Another name of `text_1`."),
    Field::shape(SOURCES[2], prompts_schema).about("Another name of `text_1`."),
    Field::shape(TARGETS[1], targets_schema).about("Another name of `text_2`."),
    Field::shape(TARGETS[2], targets_schema).about("Another name of `text_2`."),
    Field::shape(TARGETS[3], targets_schema).about("Another name of `text_2`."),
];
const RANKED: [Field; 5] = [
    Field::shape(QUERY, query_schema).required().about("One text: a string or a list of token ids."),
    Field::shape(DOCUMENTS, documents_schema).required().about(
        "A list of strings, or of objects with a `text` as their only field; at least one, at most {total_choices}.",
    ),
    TOP_N,
    RETURN_DOCUMENTS,
    SOURCE,
];
const OPTIONS: [Field; 9] = [
    METHOD,
    LENGTH_NORMALIZE,
    SCORE_END,
    ADD_SPECIAL_TOKENS,
    TRUNCATE_PROMPT_TOKENS,
    TRUNCATION_SIDE,
    CACHE_SALT,
    MODEL,
    TIMEOUT,
];

fn targets_schema(limits: &LimitValues) -> Schema {
    texts_or_ids_schema(limits.count("total_choices"))
}

fn query_schema(_: &LimitValues) -> Schema {
    any_of([text_schema().into(), ids_schema().into()])
}

fn documents_schema(limits: &LimitValues) -> Schema {
    let closed = AdditionalProperties::<Schema>::FreeForm(false);
    let object = ObjectBuilder::new().property("text", text_schema()).required("text");
    let document = any_of([text_schema().into(), object.additional_properties(Some(closed)).into()]);
    let most = Some(limits.count("total_choices"));
    list_schema(RefOr::T(document)).min_items(Some(1)).max_items(most).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::{Documented, hold_tables};

    #[test]
    fn the_page_s_tables_say_what_is_declared() {
        hold_tables("Fields of `POST /v1/score`", &[Documented { prefix: "", fields: &SCORE_FIELDS }]);
        hold_tables("Fields of `POST /v1/rerank`", &[Documented { prefix: "", fields: &RERANK_FIELDS }]);
    }
}
