//! The executor for an encoder without a decoder: its plans have encode work only.
//!
//! Made at start, driven by the engine thread.

use kernels::{Backend, BestAsk, Candidate, DrawRules, ScoreAsk, TokenScore};
use model::{EncoderModel, EncoderSpace, LaneRows, PagePieces};

use super::executor::{Executor, ExecutorError};
use crate::scheduler::{EncodeWork, Plan};

/// An encoder with its working memory.
pub struct EncoderExecutor<B: Backend> {
    model: EncoderModel<B>,
    space: EncoderSpace<B>,
}

impl<B: Backend> EncoderExecutor<B> {
    /// Allocates working memory for batches of so many rows in each lane.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(model: EncoderModel<B>, rows: LaneRows) -> model::Result<Self> {
        let space = model.space(rows)?;
        Ok(Self { model, space })
    }
}

impl<B: Backend> Executor for EncoderExecutor<B> {
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        let Some(work) = plan.encode() else { return Ok(()) };
        self.model.encode(work.rows(), work.encoder_parts(), work.lane.index(), &mut self.space);
        Ok(())
    }

    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        assert!(plan.targets.is_empty(), "a model without a decoder takes no request with a target");
        Ok(())
    }

    fn draw(&mut self, _: &Plan) -> Result<(), ExecutorError> {
        Ok(())
    }

    fn page_pieces(&self) -> PagePieces {
        PagePieces::ONE
    }

    /// Waits, so that the device is not handed all layers of a long source before a short one comes.
    fn finish(&mut self, _: &mut Vec<Option<u32>>) -> Result<(), ExecutorError> {
        self.model.backend().wait();
        Ok(())
    }

    fn read_encoded(&mut self, work: &EncodeWork, out: &mut Vec<Vec<f32>>) {
        self.model.read(&work.asked(), work.lane.index(), &mut self.space, out);
    }

    fn best(&self, asked: &[BestAsk], _: &DrawRules, _: &mut Vec<Vec<Candidate>>) {
        assert!(asked.is_empty(), "a model without a decoder has no logits");
    }

    fn score(&self, asked: &[ScoreAsk], _: &mut Vec<TokenScore>) {
        assert!(asked.is_empty(), "a model without a decoder has no logits");
    }
}
