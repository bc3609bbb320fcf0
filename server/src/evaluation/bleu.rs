//! BLEU of a corpus with one reference for each text.
//!
//! Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (ACL 2002), equal to
//! `sacrebleu.corpus_bleu` of sacrebleu 2 with its defaults (`nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp`): up to
//! four words, and an order without a match counts as half a match, a quarter at the next such order and so on
//! (Chen and Cherry, WMT 2014, method 3).

use super::overlap::Overlap;
use super::words::words_13a;

const ORDERS: usize = 4;

/// Counts over the rows so far.
#[derive(Debug, Clone, Default)]
pub struct Bleu {
    orders: [Overlap; ORDERS],
}

impl Bleu {
    /// Counts a row.
    pub fn add(&mut self, written: &str, wanted: &str) {
        let (written, wanted) = (words_13a(written), words_13a(wanted));
        for (index, sum) in self.orders.iter_mut().enumerate() {
            sum.add(Overlap::of(&written, &wanted, index + 1));
        }
    }

    /// The score, from 0 to 100.
    pub fn score(&self) -> f64 {
        let [words, ..] = self.orders;
        let is_hopeless = self.orders.iter().all(|order| order.common == 0);
        if is_hopeless || self.orders.iter().any(|order| order.written == 0) {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let precision = |order: &Overlap| {
            if order.common == 0 {
                smoothing *= 2.0;
                return 100.0 / (smoothing * order.written as f64);
            }
            100.0 * order.common as f64 / order.written as f64
        };
        let mean_log = self.orders.iter().map(precision).map(f64::ln).sum::<f64>() / ORDERS as f64;
        let brevity = (1.0 - words.wanted as f64 / words.written as f64).min(0.0);
        brevity.exp() * mean_log.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_a_hundred_and_a_corpus_without_four_words_nothing() {
        let score = |text: &str| {
            let mut bleu = Bleu::default();
            bleu.add(text, text);
            bleu.score()
        };
        assert!((score("one two three four") - 100.0).abs() < 1e-9);
        assert_eq!([score("one two three"), score(""), Bleu::default().score()], [0.0; 3]);
    }
}
