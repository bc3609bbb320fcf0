//! Plans run on a model: encoder layers, then decoder rows, then logits and draws.
//!
//! Made at start, driven by the engine thread. Holds the pages and the workspace; nothing here allocates in a
//! steady decode, but for the scores of a step whose requests ask for log-probabilities.

use kernels::{Backend, ScoreAsk, TokenScore};
use model::{CrossPages, Model, SourceRows, TargetRows, Workspace, WorkspaceLimits};

use super::executor::{Executor, ExecutorError};
use super::output_rows::OutputRows;
use crate::scheduler::{EncodeStep, Plan};

/// A model with its pages and working memory.
pub struct ModelExecutor<B: Backend> {
    model: Model<B>,
    pages: B::Pages,
    space: Workspace<B>,
    output: OutputRows,
}

impl<B: Backend> ModelExecutor<B> {
    /// Allocates `pages` pages and working memory for batches within `limits`.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(model: Model<B>, pages: usize, limits: WorkspaceLimits) -> model::Result<Self> {
        Ok(Self { pages: model.pages(pages)?, space: model.workspace(limits)?, model, output: OutputRows::default() })
    }

    /// The encoder's part of a plan, if it has one.
    pub fn encode(&mut self, plan: &Plan) {
        let Some(step) = plan.encode() else { return };
        let EncodeStep { tokens, positions, segments, .. } = step;
        self.model.encode(SourceRows { tokens, positions, segments }, step.layers.clone(), &mut self.space);
        if step.is_last {
            let sources = CrossPages { segments, spans: &step.cross_spans, tables: &plan.tables };
            self.model.write_cross(sources, &mut self.space, &mut self.pages);
        }
    }

    /// The decoder's part of a plan, if it has one, and the tokens that are drawn.
    pub fn decode(&mut self, plan: &Plan, chosen: &mut Vec<Option<u32>>) {
        if plan.tokens.is_empty() {
            return;
        }
        let rows = TargetRows {
            tokens: &plan.tokens,
            positions: &plan.positions,
            self_spans: &plan.self_spans,
            cross_spans: &plan.cross_spans,
            tables: &plan.tables,
        };
        self.model.decode(rows, &mut self.pages, &mut self.space);
        if plan.logits_rows.is_empty() {
            return;
        }
        let Self { model, space, output, .. } = self;
        output.arrange(plan);
        model.select(&output.rows, space);
        output.drawn.clear();
        if output.whole > 0 {
            model.logits(output.whole, space);
            model.sample(&output.whole_draws, space, &mut output.drawn);
        }
        model.choose(&output.narrow_draws, space, &mut output.drawn);
        chosen.extend(output.in_order(plan));
    }
}

impl<B: Backend> Executor for ModelExecutor<B> {
    fn run(&mut self, plan: &Plan, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError> {
        self.encode(plan);
        self.decode(plan, chosen);
        Ok(())
    }

    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let asked: Vec<ScoreAsk> = asked.iter().map(|ask| self.output.placed(ask)).collect();
        self.model.score(&asked, &self.space, out);
    }
}
