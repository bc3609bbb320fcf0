//! A plan's target rows, padded to one of few sizes, so that the device can replay steps.
//!
//! Used by [`super::StepExecutor`]. Padding reads and writes a spare page, and draws ids that are discarded.

use kernels::{Draw, NO_PLACE, PAGE_TOKENS, PageSpan};
use model::{PageTables, RowTokens, TargetRows};

use crate::scheduler::{Plan, TargetBatch};

/// A draw whose id is discarded.
const PADDING: Draw = Draw::greedy(0);

/// Sizes that steps are padded to.
#[derive(Debug)]
pub(super) struct Buckets(Vec<usize>);

/// Lengths of the sequences of a rehearsed step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    /// Length of each row's source, in tokens.
    pub source: usize,
    /// Length of each row's target, in tokens.
    pub target: usize,
    /// Fewest pages in the page table.
    pub table: usize,
}

/// A page of the pool that no plan names: that of this index, if pages are made of pieces in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct SparePage {
    pub page: u32,
    /// Pieces of each page.
    pub pieces: usize,
}

impl SparePage {
    fn list(self, tables: &mut PageTables) {
        tables.push_in_order(self.page, self.pieces);
    }
}

/// Padded rows of a step.
#[derive(Debug, Default)]
pub(super) struct StepRows {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    self_spans: Vec<PageSpan>,
    cross_spans: Vec<PageSpan>,
    tables: PageTables,
    /// Index of each row's token among the ids that the previous step drew, or [`NO_PLACE`].
    places: Vec<u32>,
    /// Rows whose logits are wanted.
    pub logits_rows: Vec<u32>,
    /// Draws from them.
    pub draws: Vec<Draw>,
}

impl Buckets {
    /// The ascending `sizes` below `most`, and `most`.
    pub fn new(sizes: &[usize], most: usize) -> Self {
        Self(sizes.iter().copied().filter(|&size| size < most).chain([most]).collect())
    }

    /// The smallest size that holds `rows`.
    ///
    /// # Panics
    /// When no size does.
    pub fn holding(&self, rows: usize) -> usize {
        *self.0.iter().find(|&&size| size >= rows).expect("no step has more rows than the limit")
    }

    /// All sizes, ascending.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }
}

impl StepRows {
    /// Copies a plan's rows and pads them; `spare` is the page for padding.
    pub fn fill(&mut self, plan: &Plan, buckets: &Buckets, spare: SparePage) {
        let TargetBatch { tokens, places, positions, self_spans, cross_spans, tables } = &plan.targets;
        copy(tokens, &mut self.tokens);
        copy(places, &mut self.places);
        copy(positions, &mut self.positions);
        copy(self_spans, &mut self.self_spans);
        copy(cross_spans, &mut self.cross_spans);
        self.tables.clone_from(tables);
        self.logits_rows.clear();
        self.draws.clear();
        self.logits_rows.extend(plan.outputs.iter().map(|output| output.row));
        self.draws.extend(plan.draws());
        self.pad(buckets.holding(plan.targets.len()), buckets.holding(plan.outputs.len().max(1)), spare);
    }

    /// Fills the step with padding, in sequences of these `lengths`.
    pub fn fill_with_padding(&mut self, rows: usize, lengths: Lengths, spare: SparePage) {
        let Lengths { source, target, table } = lengths;
        let narrow = |count: usize| u32::try_from(count).expect("tokens are counted in 32 bits");
        *self = Self::default();
        (0..source.max(target).div_ceil(PAGE_TOKENS).max(table)).for_each(|_| spare.list(&mut self.tables));
        self.positions.resize(rows, narrow(target) - 1);
        self.self_spans.resize(rows, PageSpan { first: 0, tokens: narrow(target) });
        self.cross_spans.resize(rows, PageSpan { first: 0, tokens: narrow(source) });
        self.pad(rows, rows, spare);
    }

    fn pad(&mut self, rows: usize, logits_rows: usize, spare: SparePage) {
        let span =
            PageSpan { first: u32::try_from(self.tables.pages()).expect("pages are counted in 32 bits"), tokens: 1 };
        spare.list(&mut self.tables);
        self.tokens.resize(rows, 0);
        self.positions.resize(rows, 0);
        self.self_spans.resize(rows, span);
        self.cross_spans.resize(rows, span);
        self.places.resize(rows, NO_PLACE);
        self.logits_rows.resize(logits_rows, 0);
        self.draws.resize(logits_rows, PADDING);
    }

    /// The rows as the decoder reads them; `drawn` are the ids that the previous step drew.
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
    use crate::scheduler::Output;

    #[test]
    fn a_step_is_padded_to_the_next_size() {
        let buckets = Buckets::new(&[1, 4, 100], 6);
        assert_eq!(buckets.sizes(), [1, 4, 6]);
        assert_eq!([1, 2, 4, 5, 6].map(|rows| buckets.holding(rows)), [1, 4, 4, 6, 6]);
    }

    #[test]
    fn padding_reads_the_spare_page_and_leaves_the_rows_of_the_plan() {
        let span = |first, tokens| PageSpan { first, tokens };
        let targets = TargetBatch {
            tokens: vec![7, 8, 9, 9, 9],
            places: vec![2, NO_PLACE, NO_PLACE, NO_PLACE, NO_PLACE],
            positions: vec![3, 0, 1, 2, 3],
            self_spans: vec![span(0, 4); 5],
            cross_spans: vec![span(1, 16); 5],
            tables: PageTables::in_order([20, 21], 1),
        };
        let draw = Draw { position: 4, ..Draw::greedy(1) };
        let outputs = [(0, true, None), (4, false, Some(draw))].map(|(row, is_scored, draw)| Output {
            row,
            is_scored,
            draw,
            best: None,
        });
        let mut plan = Plan::default();
        (plan.targets, plan.outputs) = (targets, outputs.to_vec());
        let mut rows = StepRows::default();
        // Twice: nothing of the step before is left over.
        for _ in 0..2 {
            rows.fill(&plan, &Buckets::new(&[1, 4, 100], 6), SparePage { page: 55, pieces: 1 });
            let TargetRows { tokens, positions, self_spans, cross_spans, tables } = rows.targets(&());
            let RowTokens::Drawn { host, places, .. } = tokens else { panic!("ids of the previous step are drawn") };
            assert_eq!(host, [7, 8, 9, 9, 9, 0]);
            assert_eq!(positions, [3, 0, 1, 2, 3, 0]);
            assert_eq!(tables.of(0), [20, 21, 55]);
            assert_eq!((self_spans[4], cross_spans[4]), (span(0, 4), span(1, 16)));
            assert_eq!((self_spans[5], cross_spans[5]), (span(2, 1), span(2, 1)));
            assert_eq!(places, [2, NO_PLACE, NO_PLACE, NO_PLACE, NO_PLACE, NO_PLACE]);
            assert_eq!(rows.logits_rows, [0, 4, 0, 0]);
            assert_eq!(rows.draws, [draw, PADDING, PADDING, PADDING]);
        }
    }
}
