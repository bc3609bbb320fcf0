//! Infilling: a span between two texts, asked of a model that was trained to denoise (UL2, Tay et al. 2022).
//!
//! Sentinels are pieces that stand for spans. The source has one in the place of each span, the target has each
//! followed by its span; infilling is the case of one span. Training makes its examples in the same way
//! (`training::objective`).

use crate::tokenizer::Tokenizer;

/// Names of T5's sentinels, which are sentinels wherever they are there.
const KNOWN: [&str; 2] = ["<extra_id_0>", "<extra_id_1>"];

/// How a model is asked for a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infilling {
    /// Stands for the span in the source and before it in the target.
    sentinel: u32,
    /// Stands for the span after it, of which there is none: it ends the target.
    next: Option<u32>,
    /// Comes before the source.
    mode: Option<u32>,
}

/// Pieces by which infilling is asked for.
#[derive(Debug, Clone, Copy)]
pub struct InfillingPieces<'a> {
    /// Sentinels in their order; T5's names if empty.
    pub sentinels: &'a [String],
    /// The mode token that was put before sources of short spans; empty for none.
    pub mode: &'a str,
    /// Size of the vocabulary: ids are below it.
    pub vocab: usize,
}

impl Infilling {
    /// Finds the pieces; `None` where none are named and the tokenizer has none of the known names.
    ///
    /// # Errors
    /// The problems of pieces that are named and not there.
    pub fn find(tokenizer: &Tokenizer, pieces: InfillingPieces<'_>) -> Result<Option<Self>, Vec<String>> {
        let InfillingPieces { sentinels, mode, vocab } = pieces;
        let ids = if sentinels.is_empty() {
            let known = KNOWN.iter().map_while(|name| tokenizer.id_of(name));
            known.filter(|&id| (id as usize) < vocab).collect()
        } else {
            piece_ids(tokenizer, sentinels, vocab)?
        };
        let mode = if mode.is_empty() { Vec::new() } else { piece_ids(tokenizer, &[mode.to_owned()], vocab)? };
        Ok(Self::of(&ids, mode.first().copied()))
    }

    /// Infilling with these sentinels; `None` without any.
    pub(crate) fn of(sentinels: &[u32], mode: Option<u32>) -> Option<Self> {
        Some(Self { sentinel: *sentinels.first()?, next: sentinels.get(1).copied(), mode })
    }

    /// The source that asks for the span between two texts.
    pub fn source(&self, before: &[u32], after: &[u32]) -> Vec<u32> {
        [self.mode.as_slice(), before, &[self.sentinel], after].concat()
    }

    /// The token that a target begins with, before the span.
    pub const fn beginning(&self) -> u32 {
        self.sentinel
    }

    /// The token that ends the span beside the model's end tokens.
    pub const fn end(&self) -> Option<u32> {
        self.next
    }
}

/// The ids of pieces, each at most once.
///
/// # Errors
/// The problem of each piece that is not there, or is named twice.
pub fn piece_ids(tokenizer: &Tokenizer, pieces: &[String], vocab: usize) -> Result<Vec<u32>, Vec<String>> {
    let mut problems = Vec::new();
    let mut ids = Vec::new();
    for piece in pieces {
        match tokenizer.id_of(piece) {
            None => problems.push(format!("the tokenizer has no piece {piece:?}")),
            Some(id) if id as usize >= vocab => {
                problems.push(format!("{piece:?} has the id {id}, outside the model's vocabulary of {vocab}"));
            }
            Some(id) if ids.contains(&id) => problems.push(format!("{piece:?} is named twice")),
            Some(id) => ids.push(id),
        }
    }
    if problems.is_empty() { Ok(ids) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The demo's tokenizer with added pieces, from 4096 on.
    fn tokenizer(pieces: &[&str]) -> Tokenizer {
        let mut file: Value = serde_json::from_slice(include_bytes!("../demo/tokenizer.json")).unwrap();
        for (id, piece) in (4096..).zip(pieces) {
            file["model"]["vocab"][piece] = json!(id);
        }
        Tokenizer::from_bytes(&serde_json::to_vec(&file).unwrap()).unwrap()
    }

    fn find(tokenizer: &Tokenizer, sentinels: &[&str], mode: &str) -> Result<Option<Infilling>, Vec<String>> {
        let sentinels: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
        Infilling::find(tokenizer, InfillingPieces { sentinels: &sentinels, mode, vocab: 4100 })
    }

    #[test]
    fn sentinels_are_those_that_are_named_or_known() {
        let plain = tokenizer(&["<unused1>", "<unused0>", "[NLU]"]);
        assert_eq!(find(&plain, &[], ""), Ok(None), "a piece that is unused is no sentinel by itself");
        let named = find(&plain, &["<unused1>", "<unused0>"], "[NLU]").unwrap().unwrap();
        assert_eq!(named, Infilling { sentinel: 4096, next: Some(4097), mode: Some(4098) });
        assert_eq!(named.source(&[5, 6], &[7]), [4098, 5, 6, 4096, 7]);
        assert!(find(&plain, &["<unused7>"], "").unwrap_err()[0].contains("no piece \"<unused7>\""));
        let known = find(&tokenizer(&["<extra_id_0>"]), &[], "").unwrap().unwrap();
        assert_eq!((known.beginning(), known.end(), known.source(&[5], &[])), (4096, None, vec![5, 4096]));
    }
}
