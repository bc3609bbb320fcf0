//! `decoder_prompt`: the beginning of a target, as text or token ids.
//!
//! Read by the rooms of generating endpoints. It checks forms and ids; nothing is tokenised here.

use serde::de::SeqAccess;

use super::ids::{IdBounds, IdReader, Ids};
use super::prompt::Prompt;
use super::prompts::Excess;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape};

/// `decoder_prompt` as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderPrompt {
    /// The text or the ids.
    pub prompt: Prompt,
    /// Its length, where it has too many ids.
    pub excess: Option<Excess>,
}

/// Reads `decoder_prompt`: a string, or ids; nothing comes of `null`.
pub struct DecoderPromptShape(pub IdBounds);

impl Shape for DecoderPromptShape {
    type Read = Option<Result<DecoderPrompt, ApiError>>;

    fn text(self, text: &str) -> Self::Read {
        Some(Ok(DecoderPrompt { prompt: Prompt::Text(text.to_owned()), excess: None }))
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Self::Read, A::Error> {
        let Self(bounds) = self;
        let read = IdReader::new("decoder_prompt".to_owned(), bounds).read(list)?;
        let prompt = |Ids { kept, count }| DecoderPrompt {
            prompt: Prompt::Ids(kept),
            excess: (count > bounds.most).then_some(Excess { index: 0, tokens: count }),
        };
        Ok(Some(read.map(prompt)))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("a string or a list of token ids", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: "decoder_prompt".to_owned(), expected, found }))
    }
}

impl DecoderPrompt {
    /// The prompt that was read, if any, for a model that takes text or not.
    ///
    /// # Errors
    /// The error of its form, or when it is a text and the model takes none.
    pub fn given(read: Option<Result<Self, ApiError>>, takes_text: bool) -> Result<Option<Self>, ApiError> {
        let read = read.transpose()?;
        if !takes_text && matches!(read, Some(Self { prompt: Prompt::Text(_), .. })) {
            return Err(ApiError::NeedsTokenizer { param: "decoder_prompt", instead: "give token ids" });
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::json::Shaped;

    const IDS: IdBounds = IdBounds { vocab: 100, most: 6 };

    fn read(value: &Value) -> Result<DecoderPrompt, ApiError> {
        Shaped(DecoderPromptShape(IDS)).deserialize(value).unwrap().expect("not null")
    }

    #[test]
    fn ids_outside_the_vocabulary_are_named() {
        for id in [100_u64, u64::from(u32::MAX) + 1, u64::MAX] {
            let error = read(&json!([3, id])).expect_err("refused");
            assert_eq!(error, ApiError::UnknownToken { param: "decoder_prompt[1]".to_owned(), id, vocab: 100 });
        }
    }

    #[test]
    fn of_a_list_that_is_too_long_the_rest_is_counted() {
        let target = read(&json!([7, 7, 7, 7, 7, 7, 7])).unwrap();
        assert_eq!((target.prompt, target.excess), (Prompt::Ids(vec![7; 6]), Some(Excess { index: 0, tokens: 7 })));
    }
}
