//! `bad_words`: words that do not come in the target, as strings or token ids.
//!
//! Read by `draft`; strings become ids on the threads for tokenising.

use model::Tokenizer;
use serde::de::SeqAccess;

use super::declared::{BAD_WORDS, BAD_WORDS_AS_IDS, BAD_WORDS_NAME, WORD_BYTES, WORD_IDS, WORDS_IDS};
use crate::api::fields::{IdBounds, IdReader, Ids};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape, Shaped, skip_rest};

/// A word that does not come in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadWord {
    /// A text that is not empty.
    Text(String),
    /// Ids, at least one.
    Ids(Vec<u32>),
}

/// Reads `bad_words` for a vocabulary of this size; nothing comes of `null`.
pub struct BadWordsShape {
    /// Number of ids.
    pub vocab: usize,
}

impl Shape for BadWordsShape {
    type Read = Option<Result<Vec<BadWord>, ApiError>>;

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let mut read = Vec::new();
        while read.len() < BAD_WORDS_AS_IDS {
            match list.next_element_seed(Shaped(BadWordShape { index: read.len(), vocab: self.vocab }))? {
                None => break,
                Some(word) => read.push(word),
            }
        }
        let (words, texts) = (read.len() + skip_rest(list)?, read.iter().filter(|word| is_text(word)).count());
        for (count, unit, limit) in [(texts, "words as strings", BAD_WORDS), (words, "words", BAD_WORDS_AS_IDS)] {
            if count > limit {
                return Ok(Some(Err(ApiError::TooMany { param: BAD_WORDS_NAME, count, unit, limit })));
            }
        }
        Ok(Some(read.into_iter().collect()))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("a list of strings and of lists of token ids", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: BAD_WORDS_NAME.to_owned(), expected, found }))
    }
}

fn is_text(word: &Result<BadWord, ApiError>) -> bool {
    matches!(word, Ok(BadWord::Text(_)))
}

/// One of the list.
struct BadWordShape {
    index: usize,
    vocab: usize,
}

impl BadWordShape {
    fn param(&self) -> String {
        format!("{BAD_WORDS_NAME}[{}]", self.index)
    }
}

impl Shape for BadWordShape {
    type Read = Result<BadWord, ApiError>;

    fn text(self, text: &str) -> Self::Read {
        match text.len() {
            0 => Err(ApiError::Invalid { param: self.param(), problem: "must not be empty" }),
            bytes if bytes > WORD_BYTES => Err(ApiError::TooLong { param: self.param(), bytes, limit: WORD_BYTES }),
            _ => Ok(BadWord::Text(text.to_owned())),
        }
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Self::Read, A::Error> {
        let bounds = IdBounds { vocab: self.vocab, most: WORD_IDS };
        let read = IdReader::new(self.param(), bounds).read(list)?;
        Ok(read.and_then(|Ids { kept, count }| match count {
            0 => Err(ApiError::Invalid { param: self.param(), problem: "must not be empty" }),
            _ if count > WORD_IDS => {
                Err(ApiError::TooMany { param: BAD_WORDS_NAME, count, unit: "token ids in one word", limit: WORD_IDS })
            }
            _ => Ok(BadWord::Ids(kept)),
        }))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("a string or a list of token ids", value.kind());
        Err(ApiError::WrongType { param: self.param(), expected, found })
    }
}

/// The ids of words. A text comes as it is and, where that makes another first token of as many, with a space in front,
/// as vLLM has it: the two are the word at the beginning of a text and inside it.
///
/// # Errors
/// When the tokenizer refuses a text or makes ids of it that the model does not know, and when words have too many ids.
pub fn word_ids(words: Vec<BadWord>, tokenizer: Option<&Tokenizer>, vocab: usize) -> Result<Vec<Vec<u32>>, ApiError> {
    let mut all = Vec::with_capacity(2 * words.len());
    for (index, word) in words.into_iter().enumerate() {
        let text = match word {
            BadWord::Ids(ids) => {
                all.push(ids);
                continue;
            }
            BadWord::Text(text) => text,
        };
        let tokenizer = tokenizer.ok_or(NEEDS_TOKENIZER)?;
        let bare = text.trim_start();
        let encode = |text: &str| {
            let param = || format!("{BAD_WORDS_NAME}[{index}]");
            let problem = |error: model::Error| ApiError::Untokenizable { param: param(), problem: error.to_string() };
            let ids = tokenizer.encode(text).map_err(problem)?;
            match ids.iter().find(|&&id| id as usize >= vocab) {
                Some(&id) => Err(ApiError::UnknownToken { param: param(), id: id.into(), vocab }),
                None if ids.len() > WORD_IDS => {
                    let (count, unit) = (ids.len(), "token ids in one word");
                    Err(ApiError::TooMany { param: BAD_WORDS_NAME, count, unit, limit: WORD_IDS })
                }
                None => Ok(ids),
            }
        };
        let (first, inside) = (encode(bare)?, encode(&format!(" {bare}"))?);
        let is_another = inside.first() != first.first() && inside.len() == first.len();
        all.extend([Some(first), is_another.then_some(inside)].into_iter().flatten().filter(|ids| !ids.is_empty()));
    }
    let count = all.iter().map(Vec::len).sum();
    if count > WORDS_IDS {
        return Err(ApiError::TooMany { param: BAD_WORDS_NAME, count, unit: "token ids in all", limit: WORDS_IDS });
    }
    Ok(all)
}

/// The error of words as text for a model that takes ids only.
pub const NEEDS_TOKENIZER: ApiError =
    ApiError::NeedsTokenizer { param: BAD_WORDS_NAME, instead: "give lists of token ids" };
