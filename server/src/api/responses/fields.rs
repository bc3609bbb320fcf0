//! The fields of `POST /v1/responses`, declared: names, types, ranges, defaults and meanings.
//!
//! Read by `draft`, and by the OpenAPI document. Fields that are not supported stand in `neutral`.

use std::sync::LazyLock;

use super::include::include_schema;
use super::input::input_schema;
use super::neutral::{REASONING, REQUEST, STREAM_OPTIONS};
use super::text::{self, TEXT};
use crate::api::controls::CONTROLS;
use crate::api::fields::{
    ADD_SPECIAL_TOKENS_TO_CONVERSATION, BEAMS_OF_RESPONSE, CACHE_SALT, CONTINUE_FINAL_MESSAGE, IGNORE_EOS, METADATA,
    MIN_TOKENS, MODEL, NeutralFields, SAMPLING, SPECULATION, STOP, STREAM, TEMPLATE_VARIABLES_FIELD, TEXT_OPTIONS,
    TIMEOUT, decoder_prompt_schema, metadata_schema,
};
use crate::api::json::{Field, FieldTable, Most, text_schema};
use crate::api::structure::STRUCTURE;

/// Name of the field that holds the conversation.
pub const INPUT: &str = "input";
/// Name of the field with the first message of the conversation.
pub const INSTRUCTIONS: &str = "instructions";
/// Name of the field that holds the beginning of the target.
pub const DECODER_PROMPT: &str = "decoder_prompt";
/// Name of the field that says which parts of the answer are wanted.
pub const INCLUDE: &str = "include";
/// All fields of a body.
pub static FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    let own = [
        &INPUT_FIELDS[..],
        &GENERATION,
        &SAMPLING,
        &BEAMS_OF_RESPONSE,
        &CONTROLS,
        &STRUCTURE,
        &[SPECULATION],
        &TEXT_OPTIONS,
        &OUTPUT,
        &REPEATED,
    ]
    .concat();
    FieldTable::new(own.into_iter().chain(REQUEST.into_iter().flat_map(NeutralFields::declared)))
});

/// Most tokens to generate.
pub const MAX_OUTPUT_TOKENS: Field =
    Field::integer("max_output_tokens", 1, Most::Number(u64::MAX)).absent("as many as fit").about(
        "Most tokens to generate, the end token included. Together with the beginning of the target at most the \
         model's target length ({target_tokens}).",
    );
/// Alternatives of each token.
pub const TOP_LOG_PROBS: Field = Field::integer("top_logprobs", 0, Most::Limit("top_logprobs")).or("0").about(
    "0 to {top_logprobs} alternatives of each token. Only with `include` of `\"message.output_text.logprobs\"`.",
);
/// Which tools may be called: there are none.
pub const TOOL_CHOICE: Field = Field::choice("tool_choice", &["auto", "none"])
    .or("\"auto\"")
    .about("`\"auto\"` or `\"none\"`, which mean the same without tools. The answer repeats it.");
/// Whether tools may be called at once: there are none.
pub const PARALLEL_TOOL_CALLS: Field = Field::boolean("parallel_tool_calls")
    .or("true")
    .about("Without meaning where no tool is called. The answer repeats it.");
/// Most calls of tools: there are none.
pub const MAX_TOOL_CALLS: Field = Field::integer("max_tool_calls", 0, Most::Number(u64::MAX))
    .about("Without meaning where no tool is called. The answer repeats it.");
/// The client's name of its user.
pub const USER: Field = Field::text("user").about(OWN_WORD);
/// The client's newer name of its user.
pub const SAFETY_IDENTIFIER: Field = Field::text("safety_identifier").about(OWN_WORD);
/// The client's name of requests that share a beginning.
pub const PROMPT_CACHE_KEY: Field = Field::text("prompt_cache_key").about(OWN_WORD);
/// How long encoded sources are wanted to be kept.
pub const PROMPT_CACHE_RETENTION: Field = Field::text("prompt_cache_retention").about(OWN_WORD);
const OWN_WORD: &str = "A string of at most 1024 bytes, which changes nothing. The answer repeats it.";

const INPUT_FIELDS: [Field; 9] = [
    Field::shape(INPUT, input_schema).required().about(
        "The conversation: a string, which is a message of the user, or a list of 1 to {messages} [messages](#items).",
    ),
    Field::shape(INSTRUCTIONS, |_| text_schema().into())
        .about("A string: a `system` message in front of the conversation."),
    CONTINUE_FINAL_MESSAGE,
    Field::shape(DECODER_PROMPT, decoder_prompt_schema)
        .about("A string or a list of token ids: beginning of the target."),
    ADD_SPECIAL_TOKENS_TO_CONVERSATION,
    TEMPLATE_VARIABLES_FIELD,
    CACHE_SALT,
    MODEL,
    TIMEOUT,
];
const GENERATION: [Field; 4] = [MAX_OUTPUT_TOKENS, MIN_TOKENS, IGNORE_EOS, STOP];
const OUTPUT: [Field; 9] = [
    Field::shape(INCLUDE, include_schema).about(
        "A list of names of further parts of the answer. `\"message.output_text.logprobs\"` asks for \
         log-probabilities. OpenAI's other names are about tools and reasoning, of which an answer has none: they \
         change nothing.",
    ),
    TOP_LOG_PROBS,
    Field::shape(METADATA, metadata_schema).or("{}").about(
        "An object of up to 16 strings of up to 512 characters, under names of up to 64. The answer repeats it.",
    ),
    STREAM,
    Field::object("stream_options", || STREAM_OPTIONS.declared()).about("What the stream holds. Only with `stream`."),
    Field::shape(TEXT, text::text_schema).about(
        "The form of the text. `format` is `{\"type\": \"text\"}`, `{\"type\": \"json_object\"}` or `{\"type\": \
         \"json_schema\", \"name\": ..., \"schema\": ...}` with `description` and `strict`, as in `response_format`; \
         the answer repeats it. `verbosity` may only be `\"medium\"`.",
    ),
    Field::object("reasoning", || REASONING.declared()).about("How the model reasons, which it does not."),
    TOOL_CHOICE,
    PARALLEL_TOOL_CALLS,
];
const REPEATED: [Field; 5] = [MAX_TOOL_CALLS, USER, SAFETY_IDENTIFIER, PROMPT_CACHE_KEY, PROMPT_CACHE_RETENTION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::{Documented, hold_tables};

    #[test]
    fn the_page_s_tables_say_what_is_declared() {
        hold_tables("Fields of `POST /v1/responses`", &[Documented { prefix: "", fields: &FIELDS }]);
    }
}
