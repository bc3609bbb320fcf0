//! The executor for a device that computes when called: encoder layers, then target rows, then logits and draws.
//!
//! Made at start, driven by the engine thread; [`super::StepExecutor`] is the one for devices that run on by
//! themselves. Holds the pages and the workspace. Steady decoding allocates nothing here, except for the scores of
//! requests that ask for log-probabilities.

use kernels::{Backend, BestAsk, Candidate, DrawRules, Draws, ScoreAsk, TokenScore};
use model::{Model, PagePieces, RowTokens, TargetRows, Workspace, WorkspaceLimits};

use super::executor::{Executor, ExecutorError};
use super::output_rows::OutputRows;
use super::read_bytes::read_bytes;
use crate::scheduler::{EncodeWork, Plan, TargetBatch};

/// A model with its pages and working memory.
pub struct ModelExecutor<B: Backend> {
    model: Model<B>,
    pages: B::Pages,
    space: Workspace<B>,
    output: OutputRows,
    /// Drawn ids: from rows that need all logits first.
    drawn: B::Drawn,
    /// Drawn ids in the plan's order, not yet taken.
    chosen: Vec<Option<u32>>,
}

impl<B: Backend> ModelExecutor<B> {
    /// Allocates `pages` pages and working memory for batches within `limits`.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(model: Model<B>, pages: usize, limits: WorkspaceLimits) -> model::Result<Self> {
        let (drawn, chosen) = (model.drawn(limits.logits_rows)?, Vec::with_capacity(limits.logits_rows));
        let (pages, space) = (model.pages(pages)?, model.workspace(limits)?);
        Ok(Self { model, pages, space, output: OutputRows::default(), drawn, chosen })
    }
}

impl<B: Backend> Executor for ModelExecutor<B> {
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        let Some(work) = plan.encode() else { return Ok(()) };
        let lane = work.lane.index();
        self.model.encode(work.rows(), work.encoder_parts(), lane, &mut self.space);
        if let Some(sources) = work.cross_pages() {
            self.model.write_cross(sources, lane, &mut self.pages, &mut self.space);
        }
        Ok(())
    }

    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        if plan.targets.is_empty() {
            return Ok(());
        }
        self.model.backend().copy_pages(&plan.copies, &mut self.pages);
        let TargetBatch { tokens, positions, self_spans, cross_spans, tables, .. } = &plan.targets;
        let rows = TargetRows { tokens: RowTokens::Host(tokens), positions, self_spans, cross_spans, tables };
        self.model.decode(rows, &mut self.pages, &mut self.space);
        Ok(())
    }

    fn draw(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        if plan.outputs.is_empty() {
            return Ok(());
        }
        let rules = &plan.rules;
        let Self { model, space, output, drawn, chosen, .. } = self;
        output.arrange(&plan.outputs);
        model.select(&output.rows, space);
        output.drawn.clear();
        if output.whole > 0 {
            model.logits(output.whole, space);
            model.sample(Draws { list: &output.whole_draws, rules }, space, drawn);
        }
        model.choose(Draws { list: &output.narrow_draws, rules }, space, drawn);
        model.backend().take(drawn, &mut output.drawn);
        chosen.extend(output.in_order(&plan.outputs));
        Ok(())
    }

    fn finish(&mut self, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError> {
        chosen.append(&mut self.chosen);
        Ok(())
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
        let asked: Vec<BestAsk> =
            asked.iter().map(|ask| BestAsk { row: self.output.row_of(ask.row), ..*ask }).collect();
        self.model.best(&asked, rules, &self.space, out);
    }

    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let asked: Vec<ScoreAsk> =
            asked.iter().map(|ask| ScoreAsk { row: self.output.row_of(ask.row), ..*ask }).collect();
        self.model.score(&asked, &self.space, out);
    }
}
