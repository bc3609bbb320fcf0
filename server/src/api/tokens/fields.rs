//! The fields of `/tokenize` and `/detokenize`, declared.

use std::sync::LazyLock;

use crate::api::chat::{ADD_GENERATION_PROMPT, MESSAGES, PARTS};
use crate::api::fields::{MODEL, NO_TEMPLATES, NO_TOOLS, NeutralFields, TEMPLATE_VARIABLES_FIELD, messages_schema};
use crate::api::json::{Field, FieldTable, Neutral, ids_schema, text_schema};

/// Name of the field with the text.
pub const PROMPT: &str = "prompt";
/// Name of the field with the ids.
pub const TOKENS: &str = "tokens";
/// Whether the text is framed.
pub const ADD_SPECIAL_TOKENS: Field = Field::boolean("add_special_tokens")
    .absent("`true`; for `messages` as the template needs it")
    .about("Whether the text is framed as a `prompt` is (Gemma: `<bos>` in front).");
/// Whether the answer has the texts of the tokens.
pub const RETURN_TOKEN_STRS: Field =
    Field::boolean("return_token_strs").about("Add the text of each token to the answer, as `token_strs`.");
/// Whether the last message is an unfinished answer.
pub const CONTINUE_FINAL_MESSAGE: Field = Field::boolean("continue_final_message").about(
    "With `messages`: the last one is an unfinished answer of the assistant, which begins the target, so it is no part \
     of the source whose ids are given.",
);

/// Fields of `POST /tokenize`.
pub static TOKENIZE_FIELDS: LazyLock<FieldTable> =
    LazyLock::new(|| FieldTable::new(TOKENIZE.into_iter().chain(TOKENIZE_NEUTRAL.declared())));

const TOKENIZE: [Field; 8] = [
    Field::shape(PROMPT, |_| text_schema().into()).absent("required without `messages`").about(
        "The text. It is refused when it has more tokens than a source may have ({source_tokens}) whatever they are.",
    ),
    Field::shape(MESSAGES, |limits| messages_schema(limits, &PARTS)).absent("required without `prompt`").about(
        "A list of 1 to {messages} [messages](#messages), of which the model's chat template makes the text, as it \
         does for `POST /v1/chat/completions`.",
    ),
    CONTINUE_FINAL_MESSAGE,
    ADD_GENERATION_PROMPT,
    TEMPLATE_VARIABLES_FIELD,
    ADD_SPECIAL_TOKENS,
    RETURN_TOKEN_STRS,
    MODEL,
];

/// Fields of `POST /tokenize` that vLLM knows and this server does not support.
pub const TOKENIZE_NEUTRAL: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        ("chat_template", Neutral::Never(NO_TEMPLATES)),
        ("media_io_kwargs", Neutral::Null),
        ("mm_processor_kwargs", Neutral::Null),
        ("tools", Neutral::EmptyBecause(NO_TOOLS)),
    ],
};

/// Fields of `POST /detokenize`.
pub static DETOKENIZE_FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    let tokens = Field::shape(TOKENS, |_| ids_schema().min_items(None).into()).required();
    let about = "The ids, at most as many as the longer one of source and target may have ({source_tokens}).";
    FieldTable::new([tokens.about(about), MODEL])
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::{Documented, hold_tables};

    #[test]
    fn the_page_s_tables_say_what_is_declared() {
        hold_tables("Fields of `POST /tokenize`", &[Documented { prefix: "", fields: &TOKENIZE_FIELDS }]);
        hold_tables("Fields of `POST /detokenize`", &[Documented { prefix: "", fields: &DETOKENIZE_FIELDS }]);
    }
}
