//! Lists of token ids, checked id by id and kept only as far as a model could take them.
//!
//! Used by `prompts` and `decoder_prompt`.

use serde::de::SeqAccess;

use crate::api::http::ApiError;
use crate::api::json::Brief;

/// Bounds of a list of ids.
#[derive(Debug, Clone, Copy)]
pub struct IdBounds {
    /// Size of the vocabulary: every id is below it.
    pub vocab: usize,
    /// Most ids of a list; of a longer list, this many are kept.
    pub most: usize,
}

/// The ids of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// The first of them.
    pub kept: Vec<u32>,
    /// Number of ids in the list.
    pub count: usize,
}

/// A list of ids that is being read.
#[derive(Debug)]
pub struct IdReader {
    param: String,
    bounds: IdBounds,
    count: usize,
    kept: Result<Vec<u32>, ApiError>,
}

impl IdReader {
    /// A reader of the list in the field `param`.
    pub const fn new(param: String, bounds: IdBounds) -> Self {
        Self { param, bounds, count: 0, kept: Ok(Vec::new()) }
    }

    /// Reads `list` to its end.
    ///
    /// # Errors
    /// The outer one when it is no JSON; the inner one names the first value that is no id.
    pub fn read<'de, A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Result<Ids, ApiError>, A::Error> {
        while let Some(value) = list.next_element()? {
            self.add(&value);
        }
        Ok(self.kept.map(|kept| Ids { kept, count: self.count }))
    }

    /// Takes the next value.
    pub fn add(&mut self, value: &Brief) {
        let index = self.count;
        self.count += 1;
        let Ok(kept) = &mut self.kept else { return };
        match id(value, || format!("{}[{index}]", self.param), self.bounds.vocab) {
            Ok(id) if kept.len() < self.bounds.most => kept.push(id),
            Ok(_) => {}
            Err(error) => self.kept = Err(error),
        }
    }
}

fn id(value: &Brief, name: impl Fn() -> String, vocab: usize) -> Result<u32, ApiError> {
    let Some(number) = value.whole_number() else {
        return Err(ApiError::WrongType { param: name(), expected: "a token id", found: value.kind() });
    };
    let Ok(id) = u64::try_from(number) else {
        return Err(ApiError::Invalid { param: name(), problem: "must be a token id: ids are not negative" });
    };
    match u32::try_from(id) {
        Ok(known) if (known as usize) < vocab => Ok(known),
        _ => Err(ApiError::UnknownToken { param: name(), id, vocab }),
    }
}
