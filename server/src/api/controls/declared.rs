//! The fields of controls, declared, with their limits.
//!
//! Part of the tables of single endpoints; the defaults are those of a checkpoint that asks for nothing.

use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, Schema};

use crate::api::json::{Field, LimitValues, Most, any_of, ids_schema, list_schema, text_schema};

/// Most biased ids. Each takes 8 bytes, and a rule of every step holds all of them.
pub const BIASES: usize = 1024;
/// Largest bias, to either side; OpenAI's.
pub const BIAS: f64 = 100.0;
/// Most words that must not come, given as texts.
pub const BAD_WORDS: usize = 256;
/// Most words, the lists of ids among them: each text becomes two such lists at most, and there may be sentinels.
pub const BAD_WORDS_AS_IDS: usize = 2 * BAD_WORDS + model::KNOWN_SENTINELS;
/// Most bytes of such a word.
pub const WORD_BYTES: usize = 256;
/// Most ids of such a word.
pub const WORD_IDS: usize = 64;
/// Most ids of all such words, which a request keeps for as long as it lives: 16 kB.
pub const WORDS_IDS: usize = 4096;
/// Most further end tokens.
pub const STOP_TOKENS: usize = 64;
/// Most of them with a beam search.
pub const STOP_TOKENS_OF_SEARCH: usize = 8;
/// Largest length of n-grams. A target that is as long has none that is longer.
const NGRAM: u64 = 1024;

/// Penalty of all tokens of the target.
pub const REPETITION_PENALTY: Field = Field::number("repetition_penalty", 0.01, 100.0).or("1").about(
    "0.01 to 100: the logit of every token that is in the target already (start token and `decoder_prompt` among them) \
     is divided by it where it is positive, multiplied where not. Above 1 repeats less. As in transformers and vLLM, \
     but nothing of the source is penalised.",
);
/// Penalty of generated tokens.
pub const PRESENCE_PENALTY: Field = Field::number("presence_penalty", -2.0, 2.0)
    .or("0")
    .about("-2 to 2: subtracted from the logit of each token that was generated.");
/// Penalty of generated tokens for each time.
pub const FREQUENCY_PENALTY: Field = Field::number("frequency_penalty", -2.0, 2.0)
    .or("0")
    .about("-2 to 2: subtracted from the logit of a token for each time that it was generated.");
/// Length of n-grams that come once.
pub const NO_REPEAT_NGRAM_SIZE: Field = Field::integer("no_repeat_ngram_size", 0, Most::Number(NGRAM))
    .or("0")
    .about("0 to 1024: no sequence of so many tokens comes twice in the target; 0 allows all. As in transformers.");
/// Name of the field of biases.
pub const LOGIT_BIAS: &str = "logit_bias";
/// Name of the field of allowed ids.
pub const ALLOWED_TOKEN_IDS: &str = "allowed_token_ids";
/// Name of the field of words that must not come.
pub const BAD_WORDS_NAME: &str = "bad_words";
/// Name of the field of further end tokens.
pub const STOP_TOKEN_IDS: &str = "stop_token_ids";

/// The fields.
pub const CONTROLS: [Field; 8] = [
    REPETITION_PENALTY,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    NO_REPEAT_NGRAM_SIZE,
    Field::shape(LOGIT_BIAS, logit_bias_schema).about(
        "An object of up to 1024 token ids as names, each with a number from -100 to 100 that is added to its logit, \
         after the penalties.",
    ),
    Field::shape(ALLOWED_TOKEN_IDS, allowed_schema)
        .about("A list of the token ids that may be chosen, at least one; end tokens are to be among them."),
    Field::shape(BAD_WORDS_NAME, bad_words_schema).about(
        "A list of words that do not come in the target: up to 256 strings of up to 256 bytes, which are tokenised \
         with and without a space in front as in vLLM, and lists of token ids, up to 768 words in all. A word has up \
         to 64 ids, all words together up to 4096. The last token of a word is not chosen after the others.",
    ),
    Field::shape(STOP_TOKEN_IDS, stop_tokens_schema).about(
        "A list of up to 64 token ids (8 with `use_beam_search`) that end the text, beside the model's end tokens and \
         also with `ignore_eos`. The text of such a token is left out, unless `include_stop_str_in_output` is set.",
    ),
];

fn logit_bias_schema(_: &LimitValues) -> Schema {
    let bias: Schema = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(-BIAS)).maximum(Some(BIAS)).into();
    let id: Schema = text_schema().pattern(Some("^[0-9]+$")).into();
    ObjectBuilder::new()
        .property_names(Some(id))
        .additional_properties(Some(AdditionalProperties::RefOr(bias.into())))
        .max_properties(Some(BIASES))
        .into()
}

fn allowed_schema(_: &LimitValues) -> Schema {
    ids_schema().into()
}

fn stop_tokens_schema(_: &LimitValues) -> Schema {
    ids_schema().min_items(None).max_items(Some(STOP_TOKENS)).into()
}

fn bad_words_schema(_: &LimitValues) -> Schema {
    let text = text_schema().min_length(Some(1)).max_length(Some(WORD_BYTES));
    let word = any_of([text.into(), ids_schema().max_items(Some(WORD_IDS)).into()]);
    list_schema(word).max_items(Some(BAD_WORDS_AS_IDS)).into()
}
