//! Searches that are wide enough to lose nothing, against a walk through all texts over eight ids.

use proptest::prelude::*;

use super::random::{Ends, VOCABULARY, candidates, logits, run};
use crate::request::{BeamSearch, EarlyStopping};
use crate::scheduler::beams::SearchBounds;

/// A text with its sum and its score.
type Text = (Vec<u32>, f32, f32);

/// The model that is walked, and where its texts end.
struct Walk {
    seed: u64,
    max_tokens: usize,
    length_penalty: f64,
    ends: Vec<u32>,
}

impl Walk {
    fn logits(&self, tokens: &[u32]) -> Vec<f32> {
        logits(self.seed, 6.0, tokens)
    }

    /// Adds all texts that go on from here.
    fn texts(&self, tokens: &[u32], sum: f32, all: &mut Vec<Text>) {
        for candidate in candidates(&self.logits(tokens), VOCABULARY as usize) {
            let longer = [tokens, &[candidate.id]].concat();
            let sum = sum + candidate.log_prob;
            if longer.len() == self.max_tokens || self.ends.contains(&candidate.id) {
                let score = sum / (longer.len() as f64).powf(self.length_penalty) as f32;
                all.push((longer, sum, score));
            } else {
                self.texts(&longer, sum, all);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_search_that_drops_no_branch_finds_the_best_texts_there_are(
        seed in any::<u64>(),
        end_count in 0usize..4,
        max_tokens in 1usize..4,
        length_penalty in prop_oneof![Just(0.0), Just(1.0), Just(0.6), Just(2.0), Just(-1.0)],
    ) {
        let walk = Walk { seed, max_tokens, length_penalty, ends: [3, 0, 6][..end_count].to_vec() };
        let mut all = Vec::new();
        walk.texts(&[], 0.0, &mut all);
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        // As many branches as texts of two tokens: none is dropped before the last step.
        let width = VOCABULARY * VOCABULARY;
        let asked = BeamSearch { width, length_penalty, early_stopping: EarlyStopping::Impossible };
        let bounds = SearchBounds { max_tokens, end_ids: end_count };
        let search = run(asked, bounds, Ends { ids: &walk.ends, pair: None }, |tokens| walk.logits(tokens));
        let found: Vec<Text> =
            search.kept().iter().map(|one| (one.tokens.clone(), one.log_prob, one.score)).collect();
        let (count, expected) = (found.len().min(width as usize), found.len().min(all.len()));
        prop_assert_eq!(count, all.len().min(width as usize));
        let scores = |texts: &[Text]| texts.iter().map(|text| text.2).collect::<Vec<_>>();
        prop_assert_eq!(scores(&found), scores(&all[..expected]));
        for text in &found {
            prop_assert!(all.contains(text));
        }
    }
}
