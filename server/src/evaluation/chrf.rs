//! The scores chrF and chrF++ of a corpus with one reference for each text.
//!
//! Popovic, "chrF: character n-gram F-score for automatic MT evaluation" (WMT 2015) and "chrF++: words helping
//! character n-grams" (WMT 2017), equal to `sacrebleu.corpus_chrf` of sacrebleu 2 (`case:mixed|eff:yes|nc:6|space:no`):
//! up to six characters, white space left out, recall counts twice (beta 2), orders that one side lacks left out.

use super::overlap::Overlap;
use super::words::is_space;

const CHARACTER_ORDERS: usize = 6;
const WORD_ORDERS: usize = 2;
const BETA: f64 = 2.0;

/// Whether words count beside characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChrfWords {
    /// Characters alone: chrF.
    None,
    /// Words and pairs of words as well: chrF++.
    Pairs,
}

/// Counts over the rows so far.
#[derive(Debug, Clone)]
pub struct Chrf {
    characters: [Overlap; CHARACTER_ORDERS],
    words: [Overlap; WORD_ORDERS],
    kind: ChrfWords,
}

impl Chrf {
    /// Counts of no rows.
    pub fn new(kind: ChrfWords) -> Self {
        Self { characters: Default::default(), words: Default::default(), kind }
    }

    /// Counts a row.
    pub fn add(&mut self, written: &str, wanted: &str) {
        let [of_written, of_wanted] =
            [written, wanted].map(|text| text.chars().filter(|&character| !is_space(character)).collect::<Vec<_>>());
        count(&mut self.characters, &of_written, &of_wanted);
        if self.kind == ChrfWords::Pairs {
            count(&mut self.words, &words(written), &words(wanted));
        }
    }

    /// The score, from 0 to 100.
    pub fn score(&self) -> f64 {
        let orders = self.characters.iter().chain(&self.words);
        let counted: Vec<&Overlap> = orders.filter(|order| order.written > 0 && order.wanted > 0).collect();
        let mean = |share: fn(&Overlap) -> f64| {
            counted.iter().map(|order| share(order)).sum::<f64>() / counted.len().max(1) as f64
        };
        let precision = mean(|order| order.common as f64 / order.written as f64);
        let recall = mean(|order| order.common as f64 / order.wanted as f64);
        if precision + recall == 0.0 {
            return 0.0;
        }
        let factor = BETA * BETA;
        100.0 * (1.0 + factor) * precision * recall / (factor * precision + recall)
    }
}

/// Adds one row's counts. Written n-grams of an order that the wanted text lacks do not count.
fn count<T: Eq + std::hash::Hash>(sums: &mut [Overlap], written: &[T], wanted: &[T]) {
    for (index, sum) in sums.iter_mut().enumerate() {
        let row = Overlap::of(written, wanted, index + 1);
        sum.add(if row.wanted == 0 { Overlap::default() } else { row });
    }
}

/// Words of a text. One ASCII punctuation mark is split off each: its last character, or else its first.
fn words(text: &str) -> Vec<&str> {
    let is_mark = |character: char| character.is_ascii_punctuation();
    let mut words = Vec::new();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let is_longer = word.chars().nth(1).is_some();
        match word.split_at_checked(word.len() - 1) {
            Some((before, mark)) if is_longer && word.ends_with(is_mark) => words.extend([before, mark]),
            _ if is_longer && word.starts_with(is_mark) => words.extend([&word[..1], &word[1..]]),
            _ => words.push(word),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_split_off_a_word_the_last_before_the_first() {
        assert_eq!(
            words("(hi) \u{201e}wo \u{4f60}, - $5 a--"),
            ["(hi", ")", "\u{201e}wo", "\u{4f60}", ",", "-", "$", "5", "a-", "-"]
        );
    }

    #[test]
    fn nothing_in_common_and_nothing_at_all_score_nothing() {
        let mut chrf = Chrf::new(ChrfWords::Pairs);
        assert_eq!(chrf.score(), 0.0);
        chrf.add("abc", "xyz");
        assert_eq!(chrf.score(), 0.0);
        chrf.add("", "xyz");
        assert_eq!(chrf.score(), 0.0);
    }
}
