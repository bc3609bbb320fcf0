//! `continue_final_message`: an unfinished answer at the end of a conversation, which begins the target.
//!
//! Read by the rooms of endpoints that chat.

use super::decoder_prompt::DecoderPrompt;
use super::prompt::Prompt;
use crate::api::http::ApiError;
use crate::api::json::{Field, Fields};
use crate::chat_template::ChatMessage;

/// Whether the last message is an unfinished answer.
pub const CONTINUE_FINAL_MESSAGE: Field = Field::boolean("continue_final_message").about(
    "The last message is an unfinished answer, which is continued. It must be the assistant's and not the only one, \
     and excludes `decoder_prompt`.",
);

/// An answer that is to be continued: it begins the target.
#[derive(Debug)]
pub struct Unfinished {
    /// Its text.
    pub text: Prompt,
    /// Its place among the messages.
    pub index: usize,
}

/// Beginnings of targets: the answer that is continued, or else the decoder prompt.
pub fn beginnings(unfinished: Option<Unfinished>, decoder_prompt: Option<DecoderPrompt>) -> Vec<Prompt> {
    let given = unfinished.map(|answer| answer.text).or(decoder_prompt.map(|read| read.prompt));
    given.into_iter().collect()
}

/// Takes an answer that is to be continued from the end of the messages.
///
/// # Errors
/// When it is to be continued and none is there, or something else begins the target.
pub fn take_unfinished(
    fields: &Fields,
    messages: &mut Vec<ChatMessage>,
    has_decoder_prompt: bool,
) -> Result<Option<Unfinished>, ApiError> {
    if !fields.flag(&CONTINUE_FINAL_MESSAGE)? {
        return Ok(None);
    }
    let invalid = |problem| Err(ApiError::Invalid { param: CONTINUE_FINAL_MESSAGE.name.to_owned(), problem });
    if has_decoder_prompt {
        return invalid("and 'decoder_prompt' exclude each other: both begin the target");
    }
    let last = if messages.len() > 1 { messages.pop_if(|message| message.role == "assistant") } else { None };
    match last {
        Some(last) => Ok(Some(Unfinished { text: Prompt::Text(last.content), index: messages.len() })),
        None => invalid("needs a last message of the assistant, after others"),
    }
}
