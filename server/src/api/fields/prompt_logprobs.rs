//! `prompt_logprobs`: log-probabilities of the beginning of a target.
//!
//! Read by the rooms of generating endpoints that have it.

use super::numbers::to_u32;
use crate::api::http::ApiError;
use crate::api::json::{Field, Fields, Most};

/// Log-probabilities of the beginning of the target, with so many alternatives.
pub const PROMPT_LOG_PROBS: Field = Field::integer("prompt_logprobs", 0, Most::Limit("top_logprobs")).about(
    "0 to {top_logprobs}: `prompt_logprobs` in the answer, the log-probabilities of the beginning of the target, with \
     this many alternatives. See [above](#score-a-target). Not with `stream`.",
);

/// Reads `prompt_logprobs`, at most `most`.
///
/// # Errors
/// When it is out of range, or the answer is streamed.
pub fn read_prompt_log_probs(fields: &Fields, most: u32, stream: bool) -> Result<Option<u32>, ApiError> {
    let asked = fields.whole_up_to(&PROMPT_LOG_PROBS, u64::from(most))?.map(to_u32);
    if stream && asked.is_some() {
        let problem = "is not given in streams: leave out 'stream', or ask for 'echo' with log-probabilities";
        return Err(ApiError::Invalid { param: PROMPT_LOG_PROBS.name.to_owned(), problem });
    }
    Ok(asked)
}
