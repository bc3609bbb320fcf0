//! The fields of `POST /v1/chat/completions`, declared: names, types, ranges, defaults and meanings.
//!
//! Read by `draft`, and by the OpenAPI document. Fields that are not supported stand in `neutral`.

use std::sync::LazyLock;

use super::neutral::REQUEST;
use crate::api::controls::CONTROLS;
use crate::api::fields::{
    ADD_SPECIAL_TOKENS_TO_CONVERSATION, BEAMS, CACHE_SALT, CONTINUE_FINAL_MESSAGE, IGNORE_EOS, MIN_TOKENS, MODEL,
    NeutralFields, PROMPT_LOG_PROBS, SAMPLING, SPECULATION, STOP, STREAM, STREAM_OPTIONS_FIELD,
    TEMPLATE_VARIABLES_FIELD, TEXT_OPTIONS, TIMEOUT, decoder_prompt_schema, messages_schema,
};
use crate::api::json::{Field, FieldTable, Most};
use crate::api::structure::STRUCTURE;

/// Name of the field that holds the conversation.
pub const MESSAGES: &str = "messages";
/// Types of a message's parts.
pub const PARTS: [&str; 1] = ["text"];
/// Name of the field that holds the beginning of every target.
pub const DECODER_PROMPT: &str = "decoder_prompt";

/// All fields of a body.
pub static FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    FieldTable::new(
        [&INPUT[..], &GENERATION, &SAMPLING, &CONTROLS, &STRUCTURE, &BEAMS, &[SPECULATION], &TEXT_OPTIONS, &OUTPUT]
            .concat()
            .into_iter()
            .chain(REQUEST.into_iter().flat_map(NeutralFields::declared)),
    )
});

/// Whether the source ends with the beginning of the assistant's turn.
pub const ADD_GENERATION_PROMPT: Field = Field::boolean("add_generation_prompt").or("true").about(
    "The source ends with the beginning of the assistant's turn, as the template writes it; `false` ends it after the \
     last message. With `continue_final_message` only `false` may be given.",
);
/// Most tokens to generate.
pub const MAX_COMPLETION_TOKENS: Field =
    Field::integer("max_completion_tokens", 0, Most::Number(u64::MAX)).absent("as many as fit").about(
        "Most tokens to generate, the end token included. At least 1; 0 with `echo` or `prompt_logprobs`. Together \
         with the beginning of the target at most the model's target length ({target_tokens}).",
    );
/// Its older name.
pub const MAX_TOKENS: Field = Field::integer("max_tokens", 0, Most::Number(u64::MAX))
    .absent("as many as fit")
    .about("The older name of `max_completion_tokens`. If both are given, they must be equal.");
/// Answers to the conversation.
pub const CHOICES: Field =
    Field::integer("n", 1, Most::Limit("choices")).or("1").about("Answers to the conversation, 1 to {choices}.");
/// Whether the answer begins with the beginning of the target.
pub const ECHO: Field = Field::boolean("echo").about(
    "Put the `decoder_prompt`, or the answer that is continued, in front of the answer, and its log-probabilities if \
     `logprobs` is set.",
);
/// Whether log-probabilities are wanted.
pub const LOG_PROBS: Field = Field::boolean("logprobs").about("Log-probabilities of each token.");
/// Alternatives of each token.
pub const TOP_LOG_PROBS: Field = Field::integer("top_logprobs", 0, Most::Limit("top_logprobs"))
    .about("0 to {top_logprobs} alternatives of each token. Only with `logprobs`.");
/// Whether the answer holds token ids.
pub const RETURN_TOKEN_IDS: Field = Field::boolean("return_token_ids")
    .about("Add `prompt_token_ids` (the source) to the answer, and `token_ids` (the generated tokens) to each choice.");

const INPUT: [Field; 9] = [
    Field::shape(MESSAGES, |limits| messages_schema(limits, &PARTS))
        .required()
        .about("A list of 1 to {messages} [messages](#messages): the conversation."),
    CONTINUE_FINAL_MESSAGE,
    ADD_GENERATION_PROMPT,
    Field::shape(DECODER_PROMPT, decoder_prompt_schema)
        .about("A string or a list of token ids: beginning of the target."),
    ADD_SPECIAL_TOKENS_TO_CONVERSATION,
    TEMPLATE_VARIABLES_FIELD,
    CACHE_SALT,
    MODEL,
    TIMEOUT,
];
const GENERATION: [Field; 6] = [MAX_COMPLETION_TOKENS, MAX_TOKENS, MIN_TOKENS, IGNORE_EOS, STOP, CHOICES];
const OUTPUT: [Field; 7] =
    [ECHO, LOG_PROBS, TOP_LOG_PROBS, PROMPT_LOG_PROBS, RETURN_TOKEN_IDS, STREAM, STREAM_OPTIONS_FIELD];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fields::STREAM_FIELDS;
    use crate::api::json::{Documented, hold_tables};

    #[test]
    fn the_page_s_tables_say_what_is_declared() {
        let body = Documented { prefix: "", fields: &FIELDS };
        let stream = Documented { prefix: "stream_options.", fields: &STREAM_FIELDS };
        hold_tables("Fields of `POST /v1/chat/completions`", &[body, stream]);
    }
}
