//! Which drafted tokens of a step get a row.
//!
//! A row pays where its token is right more often than the step's other rows would have yielded tokens in the time that
//! it takes. The most probable tokens have rows first, whosever they are.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::drafter::Draft;

/// Rows of a step, and what they cost.
#[derive(Debug, Clone, Copy)]
pub struct StepRows {
    /// Rows that the step has anyway, each of which yields a token.
    pub granted: usize,
    /// Rows up to which drafted ones may be added. Reading all weights is taken to cost as much as half of them.
    pub most: usize,
}

impl StepRows {
    /// Leaves of each draft the tokens that get a row.
    pub fn share(self, drafts: &mut [Draft]) {
        let mut rows = self.granted as f32;
        let mut yielded = rows;
        let reading = self.most as f32 / 2.0;
        let mut lengths = vec![0; drafts.len()];
        let with_tokens = drafts.iter().enumerate().filter(|(_, draft)| !draft.tokens.is_empty());
        let mut longer: BinaryHeap<Next> = with_tokens.map(|(index, draft)| Next::new(index, draft.right)).collect();
        for _ in self.granted..self.most {
            let Some(mut next) = longer.peek_mut() else { break };
            let (Reverse(index), right) = (next.draft, next.right);
            if right * (reading + rows) <= yielded {
                break;
            }
            (rows, yielded) = (rows + 1.0, yielded + right);
            lengths[index] += 1;
            if lengths[index] < drafts[index].tokens.len() {
                next.right *= drafts[index].right;
            } else {
                PeekMut::pop(next);
            }
        }
        for (draft, length) in drafts.iter_mut().zip(lengths) {
            draft.tokens.truncate(length);
        }
    }
}

/// The next token of a draft.
#[derive(Debug)]
struct Next {
    /// The probability that it and all before it are right.
    right: f32,
    draft: Reverse<usize>,
}

impl Next {
    const fn new(draft: usize, right: f32) -> Self {
        Self { right, draft: Reverse(draft) }
    }
}

impl Ord for Next {
    /// The greater one gets a row first: the more probable one, and of equal ones that of the first draft.
    fn cmp(&self, other: &Self) -> Ordering {
        self.right.total_cmp(&other.right).then(self.draft.cmp(&other.draft))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// Numbers of tokens that get a row, of drafts of 16 tokens.
    fn lengths(granted: usize, most: usize, right: &[f32]) -> Vec<usize> {
        let mut drafts: Vec<Draft> = right.iter().map(|&right| Draft { tokens: vec![1; 16], right }).collect();
        StepRows { granted, most }.share(&mut drafts);
        drafts.iter().map(|draft| draft.tokens.len()).collect()
    }

    #[test]
    fn what_is_right_fills_the_step() {
        assert_eq!(lengths(1, 16, &[1.0]), [15]);
        assert_eq!(lengths(4, 16, &[1.0; 4]), [12, 0, 0, 0]);
        assert_eq!(lengths(4, 16, &[0.99; 4]), [3; 4], "evenly");
        assert_eq!(lengths(16, 16, &[1.0; 16]), [0; 16]);
        assert_eq!(lengths(40, 16, &[1.0; 40]), [0; 40]);
        assert_eq!(lengths(1, 0, &[1.0]), [0]);
    }

    #[test]
    fn a_draft_is_as_long_as_it_pays() {
        assert_eq!(lengths(1, 16, &[0.0]), [0]);
        assert_eq!(lengths(1, 16, &[0.1]), [0]);
        assert_eq!(lengths(1, 16, &[0.5]), [2]);
        assert_eq!(lengths(1, 16, &[0.9]), [9]);
        assert_eq!(lengths(8, 16, &[0.4; 8]), [0; 8], "a full step makes rows dear");
        assert_eq!(lengths(8, 16, &[0.9, 0.9, 0.3, 0.9, 0.3, 0.3, 0.3, 0.3]), [3, 3, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn a_draft_has_no_more_tokens_than_it_came_with() {
        let mut drafts = [Draft { tokens: vec![7, 8], right: 1.0 }, Draft::default()];
        StepRows { granted: 2, most: 16 }.share(&mut drafts);
        assert_eq!(drafts[0].tokens, [7, 8]);
        assert_eq!(drafts[1].tokens, [0; 0]);
    }

    /// Numbers of tokens that get a row, found by comparing all drafts for each row.
    fn plain_lengths(granted: usize, most: usize, drafts: &[(usize, f32)]) -> Vec<usize> {
        let (mut rows, mut yielded) = (granted as f32, granted as f32);
        let mut lengths = vec![0; drafts.len()];
        let mut next: Vec<f32> = drafts.iter().map(|draft| draft.1).collect();
        for _ in granted..most {
            let longer = (0..drafts.len()).filter(|&index| lengths[index] < drafts[index].0);
            let Some(index) = longer.rev().max_by(|&a, &b| next[a].total_cmp(&next[b])) else { break };
            if next[index] * (most as f32 / 2.0 + rows) <= yielded {
                break;
            }
            (rows, yielded) = (rows + 1.0, yielded + next[index]);
            lengths[index] += 1;
            next[index] *= drafts[index].1;
        }
        lengths
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rows_go_to_the_tokens_that_a_comparison_of_all_drafts_finds(
            drafts in prop::collection::vec((0usize..9, prop_oneof![Just(0.5f32), Just(1.0), 0.0f32..1.0]), 0..12),
            granted in 0usize..20,
            more in 0usize..60,
        ) {
            let draft = |&(tokens, right): &(usize, f32)| Draft { tokens: vec![1; tokens], right };
            let mut shared: Vec<Draft> = drafts.iter().map(draft).collect();
            StepRows { granted, most: granted + more }.share(&mut shared);
            let lengths: Vec<usize> = shared.iter().map(|draft| draft.tokens.len()).collect();
            prop_assert_eq!(lengths, plain_lengths(granted, granted + more, &drafts));
        }
    }

    /// Comparing all drafts for each row takes minutes here.
    #[test]
    fn a_step_of_many_rows_is_shared_by_many_drafts_at_once() {
        let mut drafts = vec![Draft { tokens: vec![1; 32], right: 0.999 }; 1 << 14];
        let began = Instant::now();
        StepRows { granted: drafts.len(), most: 1 << 18 }.share(&mut drafts);
        assert_eq!(drafts.iter().map(|draft| draft.tokens.len()).sum::<usize>(), (1 << 18) - (1 << 14));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
