//! Single rows made into examples as training makes them, to measure a model.
//!
//! Used by the server's evaluation. There is no cache and no batch; the order is that of the file.

use super::data_set::Row;
use super::ids::Ids;
use super::raw_row::{Problem, RawRow};
use super::reading::Reading;
use super::tokenise::Tokenised;
use crate::training::example::Example;
use crate::training::objective::{DrawKey, Recipe, Text};

/// Everything that makes an example from a row.
#[derive(Debug, Clone, Copy)]
pub struct Maker<'a> {
    /// Settings by which rows are read; labelled rows need its labels.
    pub reading: Reading<'a>,
    /// Recipe by which rows become examples.
    pub recipe: &'a Recipe,
    /// Most tokens of a text.
    pub max_text_tokens: usize,
}

/// The example of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Single {
    /// Token ids for the network.
    pub example: Example,
    /// Whether the source, or the text, was cut.
    pub is_source_cut: bool,
    /// Whether the target was cut.
    pub is_target_cut: bool,
}

impl Maker<'_> {
    /// Makes the example of a row. Its denoising depends on `index`, the row's number.
    ///
    /// # Errors
    /// The problem with the row, as a sentence about "it".
    pub fn example(&self, row: RawRow, index: u64) -> Result<Single, Problem> {
        let is_text = matches!(row, RawRow::Text(_));
        let Tokenised { mut source, target, label, written_as_ids } = Tokenised::of(row, &self.reading)?;
        if is_text {
            let is_whole = source.len() <= self.max_text_tokens;
            source.truncate(self.max_text_tokens);
            let text = Text { ids: source, is_whole };
            let example = self.recipe.text_example(&text, DrawKey { seed: 0, epoch: 0, index });
            return Ok(Single { example, is_source_cut: !is_whole, is_target_cut: false });
        }
        let label = label.map_or(Ok(0), |label| self.number_of(&label))?;
        let (source, target) = (Ids::bytes_of(&source), Ids::bytes_of(&target));
        let row = Row { source: Ids::of_bytes(&source), target: Ids::of_bytes(&target), label, written_as_ids };
        let (is_source_cut, is_target_cut) = self.recipe.cuts(row);
        Ok(Single { example: self.recipe.example(row), is_source_cut, is_target_cut })
    }

    fn number_of(&self, label: &str) -> Result<u32, Problem> {
        let labels = self.reading.labels.unwrap_or_default();
        let number = labels.iter().position(|known| known == label);
        let unknown = || format!("its label {label:?} is none of {}", labels.join(", "));
        number.map(|number| number as u32).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::training::data::{Content, RowKind};
    use crate::training::objective::{Ingredients, ModelTokens, Reader};
    use crate::training::settings::{BadRows, DataSettings, Objective, Packing};

    fn made(objective: &Objective, row: RawRow) -> Result<Single, Problem> {
        let data = DataSettings {
            train: vec![PathBuf::new()],
            valid: Vec::new(),
            bad_rows: BadRows::Fail,
            cache: None,
            max_source_tokens: 4,
            max_target_tokens: 3,
            packing: Packing::Rows,
            max_text_tokens: 5,
            batch_tokens: 1,
            accumulate: 1,
        };
        let tokens = ModelTokens { start: 2, end: vec![1], source_vocab: 50, target_vocab: 50 };
        let reader = Reader::EncoderDecoder;
        let recipe = Recipe::new(Ingredients { objective, data: &data, tokenizer: None, reader, tokens: &tokens });
        let labels = ["a", "b"].map(str::to_owned);
        let reading = Reading {
            kind: RowKind::Text,
            tokenizer: None,
            source_vocab: 50,
            target_vocab: 50,
            labels: Some(&labels),
            bad_rows: BadRows::Fail,
        };
        Maker { reading, recipe: &recipe.unwrap(), max_text_tokens: data.max_text_tokens }.example(row, 0)
    }

    fn ids(range: std::ops::Range<u32>) -> Content {
        Content::Ids(range.collect())
    }

    #[test]
    fn pairs_are_cut_as_in_training_and_say_so() {
        let seq2seq = Objective::Seq2seq { separator: String::new() };
        let pair = |source, target| made(&seq2seq, RawRow::Pair { source, target }).unwrap();
        let example = |source: &[u32], target: &[u32]| Example::Pair { source: source.into(), target: target.into() };
        let whole =
            Single { example: example(&[10, 11, 12, 13], &[20, 21, 1]), is_source_cut: false, is_target_cut: false };
        assert_eq!(pair(ids(10..14), ids(20..22)), whole);
        assert_eq!(pair(ids(10..14), Content::Ids(vec![20, 21, 1])), whole, "the end token is there already");
        assert_eq!(pair(ids(10..15), ids(20..22)), Single { is_source_cut: true, ..whole.clone() });
        assert_eq!(pair(ids(10..14), ids(20..23)), Single { is_target_cut: true, ..whole });
    }

    #[test]
    fn labels_have_the_numbers_of_the_list_and_texts_their_halves() {
        let classify = Objective::Classify { labels: Vec::new() };
        let labelled = |label: &str| made(&classify, RawRow::Labelled { source: ids(10..12), label: label.to_owned() });
        assert_eq!(labelled("b").unwrap().example, Example::Labelled { source: vec![10, 11], label: 1 });
        assert_eq!(labelled("c").unwrap_err(), "its label \"c\" is none of a, b");
        let text = |content| made(&Objective::PrefixLm {}, RawRow::Text(content));
        let Single { example, is_source_cut, .. } = text(ids(10..15)).unwrap();
        assert_eq!(example, Example::Pair { source: vec![10, 11], target: vec![12, 13, 14, 1] });
        assert!(!is_source_cut && text(ids(10..16)).unwrap().is_source_cut);
        assert!(text(ids(48..52)).unwrap_err().contains("outside the vocabulary"));
    }
}
