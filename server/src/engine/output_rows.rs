//! Which rows of a step need all of their logits, and which only the largest.
//!
//! Used by [`super::ModelExecutor`]. Orders rows and draws; computes nothing.

use kernels::{Draw, ScoreAsk};

use crate::scheduler::Plan;

/// Rows of a step's output, ordered by how much of their logits is needed: first those that need all, then those of which
/// ids are drawn that depend on the largest few.
#[derive(Default)]
pub(super) struct OutputRows {
    /// Decoder rows in the new order.
    pub rows: Vec<u32>,
    /// Rows that need all logits.
    pub whole: usize,
    /// New place of each logits row of the plan.
    places: Vec<u32>,
    /// Draws from the rows that need all logits.
    pub whole_draws: Vec<Draw>,
    /// Draws from the others.
    pub narrow_draws: Vec<Draw>,
    /// What was drawn: `whole_draws` first, then `narrow_draws`.
    pub drawn: Vec<Option<u32>>,
}

impl OutputRows {
    /// Sorts the rows and draws of a plan.
    pub fn arrange(&mut self, plan: &Plan) {
        self.places.clear();
        self.places.extend(plan.scored.iter().map(|&scored| u32::from(!scored)));
        for (&row, choice) in plan.sampled.iter().zip(&plan.choices) {
            if !choice.is_narrow() {
                self.places[row as usize] = 0;
            }
        }
        self.whole = self.places.iter().filter(|&&narrow| narrow == 0).count();
        self.rows.clear();
        self.rows.resize(plan.logits_rows.len(), 0);
        let mut next = [0, self.whole as u32];
        for (place, &row) in self.places.iter_mut().zip(&plan.logits_rows) {
            let next = &mut next[*place as usize];
            *place = *next;
            self.rows[*place as usize] = row;
            *next += 1;
        }
        self.whole_draws.clear();
        self.narrow_draws.clear();
        for (&row, &choice) in plan.sampled.iter().zip(&plan.choices) {
            let draw = Draw { row: self.places[row as usize], choice };
            let kind = if self.is_whole(draw.row) { &mut self.whole_draws } else { &mut self.narrow_draws };
            kind.push(draw);
        }
    }

    /// What is asked of a row, at its new place.
    pub fn placed(&self, ask: &ScoreAsk) -> ScoreAsk {
        ScoreAsk { row: self.places[ask.row as usize], ..*ask }
    }

    fn is_whole(&self, place: u32) -> bool {
        (place as usize) < self.whole
    }

    /// The drawn ids in the plan's order.
    pub fn in_order<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = Option<u32>> + 'a {
        let (whole, narrow) = self.drawn.split_at(self.whole_draws.len());
        let (mut whole, mut narrow) = (whole.iter(), narrow.iter());
        plan.sampled.iter().map(move |&row| {
            let kind = if self.is_whole(self.places[row as usize]) { &mut whole } else { &mut narrow };
            *kind.next().expect("an id was drawn for each draw")
        })
    }
}

#[cfg(test)]
mod tests {
    use kernels::{Choice, Sampling};

    use super::*;

    #[test]
    fn rows_that_need_all_logits_come_first_and_ids_return_in_the_plans_order() {
        let greedy = Sampling::GREEDY;
        let wide = Sampling { temperature: 1.0, ..greedy };
        let choice = |sampling| Choice { sampling, choice: 0, position: 1, forbid_end: false };
        let mut plan = Plan::default();
        plan.logits_rows = vec![4, 5, 7, 8, 9];
        plan.scored = vec![false, true, false, true, false];
        plan.sampled = vec![0, 2, 3, 4];
        plan.choices = [greedy, wide, greedy, Sampling { top_k: 9, ..wide }].map(choice).to_vec();
        let mut rows = OutputRows::default();
        for _ in 0..2 {
            rows.arrange(&plan);
            assert_eq!((rows.rows.as_slice(), rows.whole), (&[5, 7, 8, 4, 9][..], 3));
            let places = |draws: &[Draw]| draws.iter().map(|draw| draw.row).collect::<Vec<_>>();
            assert_eq!((places(&rows.whole_draws), places(&rows.narrow_draws)), (vec![1, 2], vec![3, 4]));
            assert_eq!(rows.placed(&ScoreAsk { row: 3, id: 6, top: 2 }), ScoreAsk { row: 2, id: 6, top: 2 });
            rows.drawn = vec![Some(17), None, Some(14), Some(19)];
            assert_eq!(rows.in_order(&plan).collect::<Vec<_>>(), [Some(14), Some(17), None, Some(19)]);
        }
    }
}
