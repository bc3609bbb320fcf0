//! Readers of the fields that several endpoints have, with the bounds they are checked against.
//!
//! Used by the rooms of single endpoints. Pure: no tokenizer, no engine, no clock.

mod beams;
mod cache_salt;
mod declared;
mod decoder_prompt;
mod ids;
mod message_content;
mod messages;
mod metadata;
mod neutral;
mod neutral_generation;
mod numbers;
mod prompt;
mod prompt_logprobs;
mod prompts;
mod sampling;
mod speculation;
mod stop;
mod stream_options;
mod template_variables;
mod text_options;
mod timeout;
mod truncation;
mod unfinished;

pub use beams::{BEAMS, BEAMS_OF_RESPONSE, BesideBeams, read_beams, read_beams_of_response, read_best_of, rows_field};
pub use cache_salt::read_cache_salt;
pub use declared::{
    ADD_SPECIAL_TOKENS_TO_CONVERSATION, CACHE_SALT, IGNORE_EOS, MIN_TOKENS, MODEL, STREAM, decoder_prompt_schema,
    decoder_prompts_schema, prompts_schema, read_min_tokens, texts_or_ids_schema,
};
pub use decoder_prompt::{DecoderPrompt, DecoderPromptShape};
pub use ids::{IdBounds, IdReader, Ids};
pub use messages::{MESSAGE_FIELDS, MessageDialect, MessagesShape, given_messages, messages_schema};
pub use metadata::{METADATA, MetadataShape, metadata_schema};
pub use neutral::{NO_TEMPLATES, NO_TOOLS, NeutralFields};
pub use neutral_generation::GENERATION_NEUTRAL;
pub use numbers::{saturated, to_u32};
pub use prompt::{Prompt, PromptNames};
pub use prompt_logprobs::{PROMPT_LOG_PROBS, read_prompt_log_probs};
pub use prompts::{Excess, PromptBounds, Prompts, PromptsShape};
pub use sampling::{SAMPLING, TEMPERATURE, TOP_P, read_sampling, read_seed};
pub use speculation::{SPECULATION, read_speculation};
pub use stop::{STOP, StopBounds, StopShape, given_stop};
#[cfg(test)]
pub use stream_options::STREAM_FIELDS;
pub use stream_options::{STREAM_OPTIONS, STREAM_OPTIONS_FIELD, given_stream_options, stream_options_shape};
pub use template_variables::{TEMPLATE_VARIABLES, TEMPLATE_VARIABLES_FIELD, TemplateVariablesShape};
pub use text_options::{TEXT_OPTIONS, TextOptions};
pub use timeout::{TIMEOUT, read_timeout};
pub use truncation::{Frame, TRUNCATE_PROMPT_TOKENS, TRUNCATION_SIDE, Truncation};
pub use unfinished::{CONTINUE_FINAL_MESSAGE, Unfinished, beginnings, take_unfinished};
