//! Which drafted tokens of a step get a row.
//!
//! A row pays where its token is right more often than the step's other rows would have yielded tokens in the time that
//! it takes. The most probable tokens have rows first, whosever they are.

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
        // The probability that a draft's next token and all before it are right.
        let mut next: Vec<f32> = drafts.iter().map(|draft| draft.right).collect();
        for _ in self.granted..self.most {
            let longer = (0..drafts.len()).filter(|&index| lengths[index] < drafts[index].tokens.len());
            // Of equal ones the first.
            let Some(index) = longer.rev().max_by(|&a, &b| next[a].total_cmp(&next[b])) else { break };
            if next[index] * (reading + rows) <= yielded {
                break;
            }
            (rows, yielded) = (rows + 1.0, yielded + next[index]);
            lengths[index] += 1;
            next[index] *= drafts[index].right;
        }
        for (draft, length) in drafts.iter_mut().zip(lengths) {
            draft.tokens.truncate(length);
        }
    }
}

#[cfg(test)]
mod tests {
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
}
