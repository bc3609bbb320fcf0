//! A plan's decoder rows filled up to a size that comes again, so that steps are alike.
//!
//! Used by [`super::StepExecutor`]. What fills up reads and writes a page that belongs to nobody, and draws ids that nobody takes.

use kernels::{Choice, Draw, NO_PLACE, PAGE_TOKENS, PageSpan, Sampling};
use model::{RowTokens, TargetRows};

use crate::scheduler::Plan;

/// A draw whose id counts for nothing.
const NOTHING: Draw =
    Draw { row: 0, choice: Choice { sampling: Sampling::GREEDY, choice: 0, position: 0, forbid_end: false } };

/// Sizes of steps.
#[derive(Debug)]
pub(super) struct Buckets(Vec<usize>);

/// How much the rows of a rehearsed step read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    /// Tokens of each row's source.
    pub source: usize,
    /// Tokens of each row's target.
    pub target: usize,
    /// Pages that are listed at least.
    pub table: usize,
}

/// Rows of a step, filled up.
#[derive(Debug, Default)]
pub(super) struct StepRows {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    self_spans: Vec<PageSpan>,
    cross_spans: Vec<PageSpan>,
    tables: Vec<u32>,
    /// Index of each row's token among the ids of the step before, or [`NO_PLACE`].
    places: Vec<u32>,
    /// Rows whose logits are wanted.
    pub logits_rows: Vec<u32>,
    /// Draws from them.
    pub draws: Vec<Draw>,
}

impl Buckets {
    /// Those of `sizes`, which ascend, below `most`; and `most`.
    pub fn new(sizes: &[usize], most: usize) -> Self {
        Self(sizes.iter().copied().filter(|&size| size < most).chain([most]).collect())
    }

    /// The smallest that holds `rows`.
    ///
    /// # Panics
    /// When none does.
    pub fn holding(&self, rows: usize) -> usize {
        *self.0.iter().find(|&&size| size >= rows).expect("no step has more rows than the limit")
    }

    /// From the smallest.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }
}

impl StepRows {
    /// Takes a plan's rows; `spare` is the page that belongs to nobody.
    pub fn fill(&mut self, plan: &Plan, buckets: &Buckets, spare: u32) {
        copy(&plan.tokens, &mut self.tokens);
        copy(&plan.positions, &mut self.positions);
        copy(&plan.self_spans, &mut self.self_spans);
        copy(&plan.cross_spans, &mut self.cross_spans);
        copy(&plan.tables, &mut self.tables);
        copy(&plan.places, &mut self.places);
        copy(&plan.logits_rows, &mut self.logits_rows);
        self.draws.clear();
        self.draws.extend(plan.sampled.iter().zip(&plan.choices).map(|(&row, &choice)| Draw { row, choice }));
        self.fill_up(buckets.holding(plan.tokens.len()), buckets.holding(plan.logits_rows.len().max(1)), spare);
    }

    /// Rows that are nobody's, as far along as `lengths` say.
    pub fn fill_with_nothing(&mut self, rows: usize, lengths: Lengths, spare: u32) {
        let Lengths { source, target, table } = lengths;
        let narrow = |count: usize| u32::try_from(count).expect("tokens are counted in 32 bits");
        *self = Self::default();
        self.tables.resize(source.max(target).div_ceil(PAGE_TOKENS).max(table), spare);
        self.positions.resize(rows, narrow(target) - 1);
        self.self_spans.resize(rows, PageSpan { first: 0, tokens: narrow(target) });
        self.cross_spans.resize(rows, PageSpan { first: 0, tokens: narrow(source) });
        self.fill_up(rows, rows, spare);
    }

    fn fill_up(&mut self, rows: usize, logits_rows: usize, spare: u32) {
        let span =
            PageSpan { first: u32::try_from(self.tables.len()).expect("pages are counted in 32 bits"), tokens: 1 };
        self.tables.push(spare);
        self.tokens.resize(rows, 0);
        self.positions.resize(rows, 0);
        self.self_spans.resize(rows, span);
        self.cross_spans.resize(rows, span);
        self.places.resize(rows, NO_PLACE);
        self.logits_rows.resize(logits_rows, 0);
        self.draws.resize(logits_rows, NOTHING);
    }

    /// The rows as the decoder reads them; `drawn` are the ids of the step before.
    pub fn targets<'a, Drawn>(&'a self, drawn: &'a Drawn) -> TargetRows<'a, Drawn> {
        TargetRows {
            tokens: RowTokens::Drawn { host: &self.tokens, drawn, places: &self.places },
            positions: &self.positions,
            self_spans: &self.self_spans,
            cross_spans: &self.cross_spans,
            tables: &self.tables,
        }
    }
}

fn copy<T: Copy>(from: &[T], to: &mut Vec<T>) {
    to.clear();
    to.extend_from_slice(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_filled_up_to_the_next_size_with_rows_on_the_page_of_nobody() {
        let buckets = Buckets::new(&[1, 4, 100], 6);
        assert_eq!(buckets.sizes(), [1, 4, 6]);
        assert_eq!([1, 2, 4, 5, 6].map(|rows| buckets.holding(rows)), [1, 4, 4, 6, 6]);
        let mut plan = Plan::default();
        plan.tokens = vec![7, 8, 9, 9, 9];
        plan.positions = vec![3, 0, 1, 2, 3];
        plan.self_spans = vec![PageSpan { first: 0, tokens: 4 }; 5];
        plan.cross_spans = vec![PageSpan { first: 1, tokens: 16 }; 5];
        plan.tables = vec![20, 21];
        plan.places = vec![2, NO_PLACE, NO_PLACE, NO_PLACE, NO_PLACE];
        plan.logits_rows = vec![0, 4];
        plan.sampled = vec![1];
        plan.choices = vec![Choice { position: 4, ..NOTHING.choice }];
        let mut rows = StepRows::default();
        for _ in 0..2 {
            rows.fill(&plan, &buckets, 55);
            let TargetRows { tokens, positions, self_spans, cross_spans, tables } = rows.targets(&());
            let RowTokens::Drawn { host, places, .. } = tokens else { panic!("ids of the step before are drawn") };
            assert_eq!((host, positions), (&[7, 8, 9, 9, 9, 0][..], &[3, 0, 1, 2, 3, 0][..]));
            let spare = PageSpan { first: 2, tokens: 1 };
            assert_eq!((self_spans[5], cross_spans[5], tables), (spare, spare, &[20, 21, 55][..]));
            assert_eq!((self_spans[4], cross_spans[4]), (plan.self_spans[4], plan.cross_spans[4]));
            assert_eq!(places, [2, NO_PLACE, NO_PLACE, NO_PLACE, NO_PLACE, NO_PLACE]);
            assert_eq!(rows.logits_rows, [0, 4, 0, 0]);
            assert_eq!(
                (rows.draws[0], rows.draws[1..].to_vec()),
                (Draw { row: 1, choice: plan.choices[0] }, vec![NOTHING; 3])
            );
        }
    }
}
