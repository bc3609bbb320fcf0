//! Plans run on a model whose device goes on by itself: a step is asked for while the one before it still runs, whose tokens
//! reach it without the host.
//!
//! Made at start, driven by the engine thread; [`super::ModelExecutor`] is its like where asking is computing. Steps are filled up
//! to few sizes, so that the device can replay them, and sources are encoded beside them.

use std::collections::VecDeque;

use kernels::{Backend, PAGE_TOKENS, PageSpan, ScoreAsk, Segment, TokenScore};
use model::{CrossPages, Model, SourceRows, Workspace, WorkspaceLimits};

use super::executor::{Executor, ExecutorError};
use super::step_rows::{Buckets, Lengths, StepRows};
use crate::scheduler::{EncodeStep, Plan};

/// Times that a step of each size is run before the first plan: the first time loads what it needs, the second makes it one that
/// is replayed, each for both lists of drawn ids.
const REHEARSALS: usize = 4;

/// Source tokens of the batches that are encoded before the first plan: a device may multiply few and many in two ways, and
/// looks for each when it is first needed.
const REHEARSED_SOURCE_ROWS: [usize; 2] = [128, 512];

/// A device may split what a row reads, and splits sequences alike that lie between the same powers of two from here on, in tokens.
const REHEARSED_TOKENS: usize = 128;

/// Steps that are rehearsed before the first plan, so that the device has them when they come.
#[derive(Debug, Clone)]
pub struct StepSizes {
    /// Rows that steps are filled up to, ascending; the most rows of a step are always the last of them.
    pub rows: Vec<usize>,
    /// Tokens of the longest source.
    pub source_tokens: usize,
    /// Tokens of the longest target.
    pub target_tokens: usize,
}

/// A model with its pages and working memory.
pub struct StepExecutor<B: Backend> {
    model: Model<B>,
    pages: B::Pages,
    /// The page that no sequence has.
    spare: u32,
    space: Workspace<B>,
    buckets: Buckets,
    rows: StepRows,
    /// Ids that the latest step drew, and those of the one before it.
    drawn: [B::Drawn; 2],
    /// Draws of the plans that are not finished; none where there was no step.
    asked: VecDeque<Option<usize>>,
}

impl<B: Backend> StepExecutor<B> {
    /// Allocates `pages` pages and working memory for batches within `limits`, and rehearses batches of sources and steps of all `sizes`.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(model: Model<B>, pages: usize, limits: WorkspaceLimits, sizes: &StepSizes) -> model::Result<Self> {
        let buckets = Buckets::new(&sizes.rows, limits.target_rows);
        let drawn = [model.drawn(limits.logits_rows)?, model.drawn(limits.logits_rows)?];
        let mut executor = Self {
            pages: model.pages(pages + 1)?,
            spare: u32::try_from(pages).expect("pages are counted in 32 bits"),
            space: model.workspace(limits)?,
            model,
            buckets,
            rows: StepRows::default(),
            drawn,
            asked: VecDeque::new(),
        };
        for rows in REHEARSED_SOURCE_ROWS {
            executor.rehearse_encoder(rows.min(limits.source_rows));
        }
        // Lists stay where they are first put. That of the pages outgrows the others by far: it is put behind them.
        for table in [0, pages] {
            executor.rehearse(limits.target_rows, Lengths { source: 1, target: 1, table });
        }
        for source in lengths(sizes.source_tokens) {
            for target in lengths(sizes.target_tokens) {
                for rows in executor.buckets.sizes().to_vec() {
                    executor.rehearse(rows, Lengths { source, target, table: 0 });
                }
            }
        }
        Ok(executor)
    }

    /// The model that it runs.
    pub fn model(&self) -> &Model<B> {
        &self.model
    }

    /// Encodes sources of a page each, all of them the page that no sequence has.
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
            model.encode(sources, layers, space);
            model.write_cross(CrossPages { segments: &segments, spans: &spans, tables: &[*spare] }, space, pages);
        });
        model.backend().join();
    }

    /// With the best ids, and with ids that are drawn from all: a device may go about them in two ways.
    fn rehearse(&mut self, rows: usize, lengths: Lengths) {
        for temperature in [0.0, 1.0] {
            for _ in 0..REHEARSALS {
                self.rows.fill_with_nothing(rows, lengths, self.spare);
                self.rows.draws.iter_mut().for_each(|draw| draw.choice.sampling.temperature = temperature);
                self.step();
                self.asked.push_back(Some(0));
                self.take(&mut Vec::new());
            }
        }
    }

    /// Runs the rows as one step and begins to bring their draws to the host.
    fn step(&mut self) {
        self.drawn.swap(0, 1);
        let Self { model, pages, space, rows, drawn: [latest, before], .. } = self;
        let backend = model.backend();
        backend.step(|| {
            model.decode(rows.targets(before), pages, space);
            model.select(&rows.logits_rows, space);
            model.logits(rows.logits_rows.len(), space);
            model.sample(&rows.draws, space, latest);
        });
        backend.fetch(latest);
    }

    /// Waits for the draws of the oldest plan.
    fn take(&mut self, chosen: &mut Vec<Option<u32>>) {
        let Some(Some(count)) = self.asked.pop_front() else { return };
        // Whatever was asked after the oldest plan is one other, the latest.
        let [latest, before] = &mut self.drawn;
        let oldest = if self.asked.iter().all(Option::is_none) { latest } else { before };
        let first = chosen.len();
        self.model.backend().take(oldest, chosen);
        chosen.truncate(first + count);
    }
}

/// Those that are rehearsed up to `longest`, in tokens.
fn lengths(longest: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(REHEARSED_TOKENS), |tokens| Some(2 * tokens))
        .take_while(move |&tokens| tokens < longest)
        .chain([longest.max(1)])
}

impl<B: Backend> Executor for StepExecutor<B> {
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        let Some(step) = plan.encode() else { return Ok(()) };
        let Self { model, pages, space, .. } = self;
        model.backend().aside(|| {
            let EncodeStep { tokens, positions, segments, .. } = step;
            model.encode(SourceRows { tokens, positions, segments }, step.layers.clone(), space);
            if step.is_last {
                let sources = CrossPages { segments, spans: &step.cross_spans, tables: &plan.tables };
                model.write_cross(sources, space, pages);
            }
        });
        Ok(())
    }

    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        let has_rows = !plan.tokens.is_empty();
        if has_rows {
            self.rows.fill(plan, &self.buckets, self.spare);
            self.step();
        }
        self.asked.push_back(has_rows.then_some(plan.sampled.len()));
        // What the next plan decodes may read what this one encoded.
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

    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.model.score(asked, &self.space, out);
    }
}
