//! Which outputs of a step need all of their logits, and which only the largest.
//!
//! Used by [`super::ModelExecutor`]. Orders rows and draws; computes nothing.

use kernels::Draw;

use crate::scheduler::Output;

/// Outputs of a step in two groups: first the rows that need all of their logits, then those whose draws depend on the
/// largest few only.
#[derive(Default)]
pub(super) struct OutputRows {
    /// Target rows in the new order.
    pub rows: Vec<u32>,
    /// Number of rows that need all logits.
    pub whole: usize,
    /// New index of each output of the plan.
    order: Vec<u32>,
    /// Draws from the rows that need all logits.
    pub whole_draws: Vec<Draw>,
    /// Draws from the others.
    pub narrow_draws: Vec<Draw>,
    /// Drawn ids: those of `whole_draws` first, then those of `narrow_draws`.
    pub drawn: Vec<Option<u32>>,
}

/// Whether all logits of the output are needed.
fn is_whole(output: &Output) -> bool {
    output.is_scored || output.best.is_some() || output.draw.is_some_and(|draw| !draw.sampling.is_narrow())
}

impl OutputRows {
    /// Sorts the outputs of a plan.
    pub fn arrange(&mut self, outputs: &[Output]) {
        self.whole = outputs.iter().filter(|output| is_whole(output)).count();
        self.order.clear();
        self.whole_draws.clear();
        self.narrow_draws.clear();
        self.rows.clear();
        self.rows.resize(outputs.len(), 0);
        let (mut next_whole, mut next_narrow) = (0, self.whole as u32);
        for output in outputs {
            let (next, draws) = if is_whole(output) {
                (&mut next_whole, &mut self.whole_draws)
            } else {
                (&mut next_narrow, &mut self.narrow_draws)
            };
            let row = *next;
            *next += 1;
            self.rows[row as usize] = output.row;
            self.order.push(row);
            draws.extend(output.draw.map(|draw| Draw { row, ..draw }));
        }
    }

    /// The new index of an output.
    pub fn row_of(&self, output: u32) -> u32 {
        self.order[output as usize]
    }

    /// The drawn ids in the order of the plan's outputs.
    pub fn in_order<'a>(&'a self, outputs: &'a [Output]) -> impl Iterator<Item = Option<u32>> + 'a {
        let (whole, narrow) = self.drawn.split_at(self.whole_draws.len());
        let (mut whole, mut narrow) = (whole.iter(), narrow.iter());
        outputs.iter().filter(|output| output.draw.is_some()).map(move |output| {
            let drawn = if is_whole(output) { &mut whole } else { &mut narrow };
            *drawn.next().expect("an id was drawn for each draw")
        })
    }
}

#[cfg(test)]
mod tests {
    use kernels::Sampling;

    use super::*;

    fn output(row: u32, is_scored: bool, draw: Option<Sampling>) -> Output {
        Output { row, is_scored, draw: draw.map(|sampling| Draw { sampling, ..Draw::greedy(0) }), best: None }
    }

    #[test]
    fn rows_that_need_all_logits_come_first_and_ids_return_in_the_plans_order() {
        let greedy = Sampling::GREEDY;
        let wide = Sampling { temperature: 1.0, ..greedy };
        let outputs = [
            output(4, false, Some(greedy)),
            output(5, true, None),
            output(7, false, Some(wide)),
            output(8, true, Some(greedy)),
            output(9, false, Some(Sampling { top_k: 9, ..wide })),
        ];
        let mut rows = OutputRows::default();
        // Twice: nothing of the step before is left over.
        for _ in 0..2 {
            rows.arrange(&outputs);
            assert_eq!((rows.rows.as_slice(), rows.whole), (&[5, 7, 8, 4, 9][..], 3));
            let rows_of = |draws: &[Draw]| draws.iter().map(|draw| draw.row).collect::<Vec<_>>();
            assert_eq!((rows_of(&rows.whole_draws), rows_of(&rows.narrow_draws)), (vec![1, 2], vec![3, 4]));
            assert_eq!((0..5).map(|output| rows.row_of(output)).collect::<Vec<_>>(), [3, 0, 1, 2, 4]);
            rows.drawn = vec![Some(17), None, Some(14), Some(19)];
            assert_eq!(rows.in_order(&outputs).collect::<Vec<_>>(), [Some(14), Some(17), None, Some(19)]);
        }
    }
}
