//! ROUGE-1, ROUGE-2 and ROUGE-L, as F1.
//!
//! Chin-Yew Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), in the reading of Google's
//! `rouge-score` 0.1.2, `RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)`: lower case, words are runs
//! of `a-z0-9`, the longest common subsequence is that of the whole texts, and a corpus has the mean of its rows.

use super::overlap::Overlap;

/// Sums over the rows so far.
#[derive(Debug, Clone, Default)]
pub struct Rouge {
    sums: RougeScores,
    rows: u64,
}

/// F1 of each kind, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RougeScores {
    /// F1 of single words.
    pub rouge1: f64,
    /// F1 of pairs of words.
    pub rouge2: f64,
    /// F1 of the longest common subsequence of words.
    pub rouge_l: f64,
}

impl Rouge {
    /// Counts a row.
    pub fn add(&mut self, written: &str, wanted: &str) {
        let scores = RougeScores::of(written, wanted);
        self.sums.rouge1 += scores.rouge1;
        self.sums.rouge2 += scores.rouge2;
        self.sums.rouge_l += scores.rouge_l;
        self.rows += 1;
    }

    /// Mean over all rows; `None` without a row.
    pub fn mean(&self) -> Option<RougeScores> {
        let rows = self.rows as f64;
        let RougeScores { rouge1, rouge2, rouge_l } = self.sums;
        (self.rows > 0).then(|| RougeScores { rouge1: rouge1 / rows, rouge2: rouge2 / rows, rouge_l: rouge_l / rows })
    }
}

impl RougeScores {
    /// The scores of one row.
    pub fn of(written: &str, wanted: &str) -> Self {
        let (written, wanted) = (written.to_lowercase(), wanted.to_lowercase());
        let (written, wanted) = (words(&written), words(&wanted));
        let common = longest_common_subsequence(&written, &wanted) as u64;
        let subsequence = Overlap { written: written.len() as u64, wanted: wanted.len() as u64, common };
        Self {
            rouge1: f1(Overlap::of(&written, &wanted, 1)),
            rouge2: f1(Overlap::of(&written, &wanted, 2)),
            rouge_l: f1(subsequence),
        }
    }
}

/// Runs of ASCII letters and digits in a text in lower case.
fn words(text: &str) -> Vec<&str> {
    let is_between = |character: char| !matches!(character, 'a'..='z' | '0'..='9');
    text.split(is_between).filter(|word| !word.is_empty()).collect()
}

/// Harmonic mean of precision and recall.
fn f1(Overlap { written, wanted, common }: Overlap) -> f64 {
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (common as f64 / written as f64, common as f64 / wanted as f64);
    2.0 * precision * recall / (precision + recall)
}

fn longest_common_subsequence(first: &[&str], second: &[&str]) -> usize {
    // best[j]: length for the words of `first` so far and the first `j` words of `second`.
    let mut best = vec![0; second.len() + 1];
    for word in first {
        let mut before = 0;
        for (index, other) in second.iter().enumerate() {
            let above = best[index + 1];
            best[index + 1] = if word == other { before + 1 } else { above.max(best[index]) };
            before = above;
        }
    }
    best[second.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subsequence_may_have_gaps_but_keeps_its_order() {
        let common = |first: &str, second: &str| longest_common_subsequence(&words(first), &words(second));
        assert_eq!(common("a b c d", "x a y c z d"), 3);
        assert_eq!(common("a b c", "c b a"), 1);
        assert_eq!(common("", "a"), 0);
    }

    #[test]
    fn a_corpus_has_the_mean_of_its_rows_and_an_empty_one_none() {
        let mut rouge = Rouge::default();
        assert_eq!(rouge.mean(), None);
        rouge.add("a tool", "A tool.");
        rouge.add("", "");
        assert_eq!(rouge.mean(), Some(RougeScores { rouge1: 0.5, rouge2: 0.5, rouge_l: 0.5 }));
    }
}
