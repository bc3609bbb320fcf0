//! The fields of `/tokenize` and `/detokenize`, declared.

use std::sync::LazyLock;

use crate::api::fields::MODEL;
use crate::api::json::{Field, FieldTable, ids_schema, text_schema};

/// Name of the field with the text.
pub const PROMPT: &str = "prompt";
/// Name of the field with the ids.
pub const TOKENS: &str = "tokens";
/// Whether the text is framed.
pub const ADD_SPECIAL_TOKENS: Field = Field::boolean("add_special_tokens")
    .or("true")
    .about("Whether the text is framed as a `prompt` is (Gemma: `<bos>` in front).");
/// Whether the answer has the texts of the tokens.
pub const RETURN_TOKEN_STRS: Field =
    Field::boolean("return_token_strs").about("Add the text of each token to the answer, as `token_strs`.");

/// Fields of `POST /tokenize`.
pub static TOKENIZE_FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    let prompt = Field::shape(PROMPT, |_| text_schema().into()).required();
    let about =
        "The text. It is refused when it has more tokens than a source may have ({source_tokens}) whatever they are.";
    FieldTable::new([prompt.about(about), ADD_SPECIAL_TOKENS, RETURN_TOKEN_STRS, MODEL])
});

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
