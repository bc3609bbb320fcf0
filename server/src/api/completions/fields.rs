//! The fields of `POST /v1/completions`, declared: names, types, ranges, defaults and meanings.
//!
//! Read by `draft`, and by the OpenAPI document. Fields that are not supported stand in `neutral`.

use std::sync::LazyLock;

use super::neutral::REQUEST;
use crate::api::controls::CONTROLS;
use crate::api::fields::{
    BEAMS, CACHE_SALT, IGNORE_EOS, MIN_TOKENS, MODEL, NeutralFields, PROMPT_LOG_PROBS, SAMPLING, SPECULATION, STOP,
    STREAM, STREAM_OPTIONS_FIELD, TEXT_OPTIONS, TIMEOUT, decoder_prompts_schema, prompts_schema,
};
use crate::api::json::{Field, FieldTable, Most, text_schema};
use crate::api::structure::STRUCTURE;

/// Name of the field that holds the sources.
pub const PROMPT: &str = "prompt";
/// Name of the field that holds the text after the span that is to be generated.
pub const SUFFIX: &str = "suffix";
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

/// Whether the tokenizer frames prompts.
pub const ADD_SPECIAL_TOKENS: Field = Field::boolean("add_special_tokens").or("true").about(
    "Whether the tokenizer frames a `prompt` given as text as the model was trained (Gemma: `<bos>` in front). It does \
     not apply to ids nor to `decoder_prompt`.",
);
/// Most tokens to generate.
pub const MAX_TOKENS: Field = Field::integer("max_tokens", 0, Most::Number(u64::MAX)).or("16").about(
    "Most tokens to generate, the end token included. At least 1; 0 with `echo` or `prompt_logprobs`. Together with \
     `decoder_prompt` at most the model's target length ({target_tokens}).",
);
/// Continuations of each prompt.
pub const CHOICES: Field = Field::integer("n", 1, Most::Limit("choices"))
    .or("1")
    .about("Continuations of each prompt, 1 to {choices}; with all prompts at most {total_choices}.");
/// Whether the answer begins with the decoder prompt.
pub const ECHO: Field = Field::boolean("echo").about(
    "Put the `decoder_prompt` in front of the text (nothing if there is none), and its log-probabilities if `logprobs` \
     is given.",
);
/// Log-probabilities with so many alternatives.
pub const LOG_PROBS: Field = Field::integer("logprobs", 0, Most::Limit("top_logprobs")).about(
    "0 to {top_logprobs}: log-probabilities of each token, with this many alternatives. Choices (prompts times `n`) \
     times tokens (`max_tokens`, and the `decoder_prompt` with `echo`) times `logprobs` + 1 at most {total_logprobs}.",
);
/// Whether the answer holds token ids.
pub const RETURN_TOKEN_IDS: Field = Field::boolean("return_token_ids")
    .about("Add `prompt_token_ids` (the source) and `token_ids` (the generated tokens) to each choice.");

const INPUT: [Field; 7] = [
    Field::shape(PROMPT, prompts_schema).required().about(
        "A string, a list of strings, a list of token ids, or a list of lists of token ids. At most {prompts} prompts; \
         each has at least one token and at most as many as the model reads.",
    ),
    Field::shape(DECODER_PROMPT, decoder_prompts_schema).about(
        "A string or a list of token ids, for all prompts. Or a list of up to {prompts} strings, or lists of token \
         ids, beside a single prompt: each begins `n` choices of its own. See [above](#many-targets-of-one-source).",
    ),
    Field::shape(SUFFIX, |_| text_schema().into()).about(
        "The text after each `prompt`: the span between both is generated. Only for checkpoints with sentinels. See \
         [above](#fill-a-gap). An empty one says nothing.",
    ),
    ADD_SPECIAL_TOKENS,
    CACHE_SALT,
    MODEL,
    TIMEOUT,
];
const GENERATION: [Field; 5] = [MAX_TOKENS, MIN_TOKENS, IGNORE_EOS, STOP, CHOICES];
const OUTPUT: [Field; 6] = [ECHO, LOG_PROBS, PROMPT_LOG_PROBS, RETURN_TOKEN_IDS, STREAM, STREAM_OPTIONS_FIELD];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fields::STREAM_FIELDS;
    use crate::api::json::{Documented, hold_tables};

    #[test]
    fn the_page_s_tables_say_what_is_declared() {
        let body = Documented { prefix: "", fields: &FIELDS };
        let stream = Documented { prefix: "stream_options.", fields: &STREAM_FIELDS };
        hold_tables("Fields of `POST /v1/completions`", &[body, stream]);
    }
}
