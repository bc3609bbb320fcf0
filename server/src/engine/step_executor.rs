//! The executor for a device that runs on by itself: a step is started while the previous one still runs, and gets that
//! one's tokens without the host.
//!
//! Made at start, driven by the engine thread; [`super::ModelExecutor`] is the one for devices that compute when
//! called. Steps are padded to few sizes, so that the device can replay them, and sources are encoded beside them.

use std::collections::VecDeque;

use kernels::{
    Backend, BestAsk, Candidate, DrawRule, DrawRules, Draws, PAGE_TOKENS, PageSpan, ScoreAsk, Segment, TokenMask,
    TokenScore,
};
use model::{CrossPages, Model, PagePieces, PageTables, SourceRows, Workspace, WorkspaceLimits};

use super::executor::{Executor, ExecutorError};
use super::read_bytes::read_bytes;
use super::step_rows::{Buckets, Lengths, SparePage, StepRows};
use crate::scheduler::{EncodeWork, Lane, Plan, TargetBatch};

/// Number of times that a step of each size is run before the first plan: the first run loads what the step needs, the
/// second records it for replay, each with either list of drawn ids.
const REHEARSALS: usize = 4;

/// Source tokens of the batches that are encoded before the first plan. A device may multiply small and large batches
/// in two ways, and chooses each way when it first needs it.
const REHEARSED_SOURCE_ROWS: [usize; 2] = [128, 512];

/// Shortest sequence that is rehearsed, in tokens. A device may split what a row reads; from here on it splits
/// sequences between the same two powers of two alike.
const REHEARSED_TOKENS: usize = 128;

/// Sizes of the steps that are rehearsed before the first plan, so that the device has recorded them by then.
#[derive(Debug, Clone)]
pub struct StepSizes {
    /// Numbers of rows that steps are padded to, ascending; the largest step is always added as the last.
    pub rows: Vec<usize>,
    /// Length of the longest source, in tokens.
    pub source_tokens: usize,
    /// Length of the longest target, in tokens.
    pub target_tokens: usize,
}

/// A model with its pages and working memory.
pub struct StepExecutor<B: Backend> {
    model: Model<B>,
    pages: B::Pages,
    /// A page that belongs to no sequence, for padding.
    spare: SparePage,
    space: Workspace<B>,
    buckets: Buckets,
    rows: StepRows,
    /// Ids that the latest step drew, and those of the previous one.
    drawn: [B::Drawn; 2],
    /// Number of draws of each plan that is not finished; `None` for a plan without target rows.
    asked: VecDeque<Option<usize>>,
}

impl<B: Backend> StepExecutor<B> {
    /// Allocates `pages` pages and working memory for batches within `limits`, and rehearses batches of sources and
    /// steps of all `sizes`.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(model: Model<B>, pages: usize, limits: WorkspaceLimits, sizes: &StepSizes) -> model::Result<Self> {
        let buckets = Buckets::new(&sizes.rows, limits.target_rows);
        let drawn = [model.drawn(limits.logits_rows)?, model.drawn(limits.logits_rows)?];
        let mut executor = Self {
            pages: model.pages(pages + 1)?,
            spare: SparePage {
                page: u32::try_from(pages).expect("pages are counted in 32 bits"),
                pieces: model.page_pieces().all,
            },
            space: model.workspace(limits)?,
            model,
            buckets,
            rows: StepRows::default(),
            drawn,
            asked: VecDeque::new(),
        };
        for rows in REHEARSED_SOURCE_ROWS {
            executor.rehearse_encoder(rows.min(limits.lane_rows[Lane::Short.index()]));
        }
        // Lists stay where they are first allocated. The list of pages outgrows the others by far, so it goes behind
        // them.
        for table in [0, pages] {
            executor.rehearse(limits.target_rows, Lengths { source: 1, target: 1, table });
        }
        executor.rehearse_rules(limits.target_rows);
        for source in lengths(sizes.source_tokens) {
            for target in lengths(sizes.target_tokens) {
                for rows in executor.buckets.sizes().to_vec() {
                    executor.rehearse(rows, Lengths { source, target, table: 0 });
                }
            }
        }
        Ok(executor)
    }

    /// The model.
    pub fn model(&self) -> &Model<B> {
        &self.model
    }

    /// Encodes sources of a page each, all of them in the spare page.
    fn rehearse_encoder(&mut self, rows: usize) {
        let narrow = |count: usize| u32::try_from(count).expect("rows are counted in 32 bits");
        let positions: Vec<u32> = (0..rows).map(|row| narrow(row % PAGE_TOKENS)).collect();
        let starts = (0..rows).step_by(PAGE_TOKENS);
        let segments: Vec<Segment> =
            starts.map(|start| Segment { start: narrow(start), len: narrow(PAGE_TOKENS.min(rows - start)) }).collect();
        let spans: Vec<PageSpan> = segments.iter().map(|segment| PageSpan { first: 0, tokens: segment.len }).collect();
        let Self { model, pages, space, spare, .. } = self;
        let layers = 0..model.config().encoder.layers;
        model.backend().aside(|| {
            let sources = SourceRows { tokens: &vec![0; rows], positions: &positions, segments: &segments };
            let lane = Lane::Short.index();
            model.encode(sources, layers, lane, space);
            let tables = PageTables::in_order([spare.page], spare.pieces);
            model.write_cross(CrossPages { segments: &segments, spans: &spans, tables: &tables }, lane, pages, space);
        });
        model.backend().join();
    }

    /// Runs a step of padding with greedy draws, and with draws from all ids: a device may do the two differently.
    fn rehearse(&mut self, rows: usize, lengths: Lengths) {
        for temperature in [0.0, 1.0] {
            for _ in 0..REHEARSALS {
                self.rows.fill_with_padding(rows, lengths, self.spare);
                self.rows.draws.iter_mut().for_each(|draw| draw.sampling.temperature = temperature);
                self.step(&DrawRules::new());
                self.asked.push_back(Some(0));
                self.take(&mut Vec::new());
            }
        }
    }

    /// Runs the largest step with a rule for every row, so that the device takes the memory of as many copies of logits
    /// now and not when requests ask for them.
    fn rehearse_rules(&mut self, rows: usize) {
        let mut rules = DrawRules::new();
        let mask = Some(TokenMask { words: &[!0] });
        let rule = rules.add(DrawRule { mask, ..DrawRule::default() });
        for _ in 0..REHEARSALS {
            self.rows.fill_with_padding(rows, Lengths { source: 1, target: 1, table: 0 }, self.spare);
            self.rows.draws.iter_mut().for_each(|draw| draw.rule = Some(rule));
            self.step(&rules);
            self.asked.push_back(Some(0));
            self.take(&mut Vec::new());
        }
    }

    /// Runs the rows as one step and starts to copy the drawn ids to the host.
    fn step(&mut self, rules: &DrawRules) {
        self.drawn.swap(0, 1);
        let Self { model, pages, space, rows, drawn: [latest, before], .. } = self;
        let backend = model.backend();
        backend.step(|| {
            model.decode(rows.targets(before), pages, space);
            model.select(&rows.logits_rows, space);
            model.logits(rows.logits_rows.len(), space);
            model.sample(Draws { list: &rows.draws, rules }, space, latest);
        });
        backend.fetch(latest);
    }

    /// Waits for the drawn ids of the oldest plan.
    fn take(&mut self, chosen: &mut Vec<Option<u32>>) {
        let Some(Some(count)) = self.asked.pop_front() else { return self.wait_for_sources() };
        // At most one plan was started after the oldest.
        let [latest, before] = &mut self.drawn;
        let oldest = if self.asked.iter().all(Option::is_none) { latest } else { before };
        let first = chosen.len();
        self.model.backend().take(oldest, chosen);
        chosen.truncate(first + count);
    }

    /// Waits for a plan without target rows, unless the next one has some, which are waited for in their turn. A host
    /// that did not wait would hand the device all layers of a long source before a short one comes.
    fn wait_for_sources(&self) {
        if self.asked.iter().all(Option::is_none) {
            self.model.backend().wait();
        }
    }
}

/// Sequence lengths that are rehearsed up to `longest`, in tokens.
fn lengths(longest: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(REHEARSED_TOKENS), |tokens| Some(2 * tokens))
        .take_while(move |&tokens| tokens < longest)
        .chain([longest.max(1)])
}

impl<B: Backend> Executor for StepExecutor<B> {
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        let Some(work) = plan.encode() else { return Ok(()) };
        let Self { model, pages, space, .. } = self;
        model.backend().aside(|| {
            let lane = work.lane.index();
            model.encode(work.rows(), work.encoder_parts(), lane, space);
            if let Some(sources) = work.cross_pages() {
                model.write_cross(sources, lane, pages, space);
            }
        });
        Ok(())
    }

    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        if !plan.targets.is_empty() {
            // Before the step, which may be replayed, and after what the steps before it wrote.
            self.model.backend().copy_pages(&plan.copies, &mut self.pages);
            self.rows.fill(plan, &self.buckets, self.spare);
        }
        Ok(())
    }

    fn draw(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        // Rows and draws are one step, which the device replays as a whole.
        let has_rows = !plan.targets.is_empty();
        if has_rows {
            self.step(&plan.rules);
        }
        self.asked.push_back(has_rows.then(|| plan.draws().count()));
        // Rows of the next plan may read what this one encodes.
        if plan.encode().is_some() {
            self.model.backend().join();
        }
        Ok(())
    }

    fn finish(&mut self, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError> {
        self.take(chosen);
        Ok(())
    }

    fn runs_ahead(&self) -> bool {
        true
    }

    fn page_pieces(&self) -> PagePieces {
        self.model.page_pieces()
    }

    fn read_bytes(&self, targets: &TargetBatch) -> u64 {
        read_bytes(&self.model, targets)
    }

    fn read_encoded(&mut self, work: &EncodeWork, out: &mut Vec<Vec<f32>>) {
        self.model.read(&work.asked(), work.lane.index(), &mut self.space, out);
    }

    fn best(&self, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        self.model.best(asked, rules, &self.space, out);
    }

    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.model.score(asked, &self.space, out);
    }
}
