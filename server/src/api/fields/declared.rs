//! Fields that several endpoints have and that need no reader of their own, declared.
//!
//! Part of the tables of single endpoints.

use utoipa::openapi::Schema;

use super::numbers::saturated;
use crate::api::http::ApiError;
use crate::api::json::{Field, Fields, LimitValues, Most, any_of, ids_schema, list_schema, text_schema};

/// The field that names the model, on every route.
pub const MODEL: Field = Field::text("model")
    .absent("the first served model")
    .about("The name or an alias of a served model; any other is a 404. At most 1024 bytes.");
/// The field that keeps encoded sources apart.
pub const CACHE_SALT: Field = Field::nonempty_text("cache_salt").about(
    "A string of 1 to 1024 bytes. Only requests with the same salt share encoded sources; requests without one share \
     among themselves. See [above](#serve-several-parties).",
);
/// Number of tokens before which nothing ends a text.
pub const MIN_TOKENS: Field = Field::integer("min_tokens", 0, Most::Number(u64::MAX)).or("0").about(
    "Until this many tokens are generated, end tokens are not chosen, and stop strings that end in their text do not \
     count; one that begins in it and ends after it does. At most as many as may be generated.",
);
/// Whether the tokenizer frames the text that a chat template made.
pub const ADD_SPECIAL_TOKENS_TO_CONVERSATION: Field =
    Field::boolean("add_special_tokens").absent("as the template needs it").about(
        "Whether the tokenizer frames the rendered text (Gemma: `<bos>` in front). By default it does not if there is \
         a template, because templates write special tokens themselves.",
    );
/// Whether end tokens end nothing.
pub const IGNORE_EOS: Field = Field::boolean("ignore_eos").about("End tokens do not end the text.");
/// Whether the answer is streamed.
pub const STREAM: Field = Field::boolean("stream").about("Send the answer piece by piece.");

/// The schema of prompts in their four forms.
pub fn prompts_schema(limits: &LimitValues) -> Schema {
    texts_or_ids_schema(limits.count("prompts"))
}

/// The schema of at most so many texts or lists of token ids, in their four forms: one or several of either.
pub fn texts_or_ids_schema(most: usize) -> Schema {
    let most = Some(most);
    let texts = list_schema(text_schema()).min_items(Some(1)).max_items(most);
    let lists = list_schema(ids_schema()).min_items(Some(1)).max_items(most);
    any_of([text_schema().into(), texts.into(), ids_schema().into(), lists.into()])
}

/// The schema of the beginning of a target.
pub fn decoder_prompt_schema(_: &LimitValues) -> Schema {
    any_of([text_schema().into(), ids_schema().min_items(None).into()])
}

/// The schema of the beginning of targets, or several of them.
pub fn decoder_prompts_schema(limits: &LimitValues) -> Schema {
    let most = Some(limits.count("prompts"));
    let texts = list_schema(text_schema()).min_items(Some(1)).max_items(most);
    let lists = list_schema(ids_schema()).min_items(Some(1)).max_items(most);
    any_of([text_schema().into(), texts.into(), ids_schema().min_items(None).into(), lists.into()])
}

/// Reads `min_tokens`, if it is given.
///
/// # Errors
/// When it is no whole number, or below 0.
pub fn read_min_tokens(fields: &Fields) -> Result<Option<u32>, ApiError> {
    Ok(fields.integer(MIN_TOKENS.name, 0, u64::MAX)?.map(saturated))
}
