//! Truncation of inputs: how many tokens of each are kept, and which.
//!
//! Read by the rooms of the encoder's routes and of scoring, in vLLM's fields.

use std::cmp::min;

use crate::api::http::ApiError;
use crate::api::json::{Field, Fields};

/// Most tokens of an input.
pub const TRUNCATE_PROMPT_TOKENS: Field = Field::integer_or("truncate_prompt_tokens", -1, 1, "source_tokens").about(
    "1 to {source_tokens}: of a longer text or list of ids, so many tokens are kept; -1 keeps as many as the model \
         takes. Special tokens around a text are counted and stay. Without it, what is too long is refused.",
);
/// The side that is cut off.
pub const TRUNCATION_SIDE: Field = Field::choice("truncation_side", &["right", "left"]).or("\"right\"").about(
    "With `truncate_prompt_tokens`: `\"right\"` cuts off the end and keeps the first tokens, `\"left\"` cuts off the \
     beginning and keeps the last ones.",
);

/// Truncation of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// Most tokens of an input; as many as the model takes when absent.
    tokens: Option<usize>,
    /// Whether the last tokens are kept, and not the first ones.
    keeps_last: bool,
}

/// Whether a cut took tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// It took some.
    pub any: bool,
    /// It took the last ones.
    pub end: bool,
}

/// Numbers of special tokens around a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frame {
    /// Before it.
    pub before: usize,
    /// After it.
    pub after: usize,
}

impl Truncation {
    /// Reads the truncation that is asked for, of inputs for a model that reads so many tokens.
    ///
    /// # Errors
    /// The [`ApiError`] of a number that means nothing.
    pub fn read(fields: &Fields, source_tokens: usize) -> Result<Option<Self>, ApiError> {
        let keeps_last = fields.choice(&TRUNCATION_SIDE)? == "left";
        let number = fields.whole_or_special(&TRUNCATE_PROMPT_TOKENS, source_tokens as u64)?;
        Ok(number.map(|number| Self { tokens: usize::try_from(number).ok(), keeps_last }))
    }

    /// Cuts ids of which the model takes `limit`; `frame` of them stay.
    pub fn cut(self, ids: &mut Vec<u32>, limit: usize, frame: Frame) -> Cut {
        let (most, len) = (self.tokens.map_or(limit, |tokens| min(tokens, limit)), ids.len());
        if len <= most {
            return Cut::default();
        }
        let Frame { before, after } = frame;
        let kept = most.saturating_sub(before + after);
        let lost = if self.keeps_last { before..len - after - kept } else { before + kept..len - after };
        ids.drain(lost);
        ids.truncate(most);
        Cut { any: true, end: !self.keeps_last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(tokens: Option<usize>, keeps_last: bool, frame: Frame) -> Vec<u32> {
        let mut ids = (1..=8).collect();
        Truncation { tokens, keeps_last }.cut(&mut ids, 6, frame);
        ids
    }

    #[test]
    fn either_end_is_kept_up_to_the_number_that_is_asked_for_or_the_model_s() {
        let none = Frame::default();
        assert_eq!((cut(Some(3), false, none), cut(Some(3), true, none)), (vec![1, 2, 3], vec![6, 7, 8]));
        assert_eq!(
            (cut(None, false, none), cut(Some(7), true, none)),
            (vec![1, 2, 3, 4, 5, 6], vec![3, 4, 5, 6, 7, 8])
        );
    }

    #[test]
    fn special_tokens_around_a_text_stay() {
        let frame = Frame { before: 1, after: 1 };
        assert_eq!((cut(Some(4), false, frame), cut(Some(4), true, frame)), (vec![1, 2, 3, 8], vec![1, 6, 7, 8]));
        assert_eq!((cut(Some(2), false, frame), cut(Some(1), true, frame)), (vec![1, 8], vec![1]));
    }

    #[test]
    fn what_is_short_enough_stays_whole() {
        let mut ids = vec![1, 2, 3];
        let cut = Truncation { tokens: Some(3), keeps_last: false }.cut(&mut ids, 6, Frame::default());
        assert_eq!(cut, Cut { any: false, end: false });
        assert_eq!(ids, [1, 2, 3]);
    }
}
