//! An executor whose greedy draws give dictated tokens: a model of random weights writes what it is to write.
//!
//! Used by `copying`, whose engine runs on it. Rows and draws are computed as ever; only the drawn ids are replaced.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernels::{BestAsk, Candidate, DrawRules, Sampling, ScoreAsk, TokenScore};
use model::PagePieces;

use crate::engine::{Executor, ExecutorError};
use crate::request::GenerationRequest;
use crate::scheduler::{EncodeWork, Plan};

/// Dictated texts by the seed of their request, shared by the engine's thread and the one that asks.
#[derive(Clone, Default)]
pub struct Dictation(Arc<Mutex<HashMap<u64, Vec<u32>>>>);

impl Dictation {
    /// The request as one whose answer is `text`. A greedy draw makes no use of a seed, so the seed names it.
    pub fn of(&self, asked: GenerationRequest, text: Vec<u32>) -> GenerationRequest {
        let mut texts = self.lock();
        let seed = texts.len() as u64 + 1;
        texts.insert(seed, text);
        GenerationRequest { sampling: Sampling { seed, ..Sampling::GREEDY }, ..asked }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A model's executor that writes to dictation.
pub struct Dictated {
    inner: Box<dyn Executor>,
    dictation: Dictation,
    /// Dictated tokens of the draws that were started; none where nothing is dictated.
    tokens: Vec<Option<u32>>,
}

impl Dictated {
    /// Lets an executor write to dictation. It runs no plan ahead.
    pub fn new(inner: Box<dyn Executor>, dictation: Dictation) -> Self {
        Self { inner, dictation, tokens: Vec::new() }
    }
}

impl Executor for Dictated {
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        self.inner.encode(plan)
    }

    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        self.inner.decode(plan)
    }

    fn draw(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        let texts = self.dictation.lock();
        // The start token is at position 0.
        let dictated = plan.draws().map(|draw| {
            let text = texts.get(&draw.sampling.seed)?;
            text.get(draw.position as usize - 1).copied()
        });
        self.tokens.clear();
        self.tokens.extend(dictated);
        drop(texts);
        self.inner.draw(plan)
    }

    fn finish(&mut self, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError> {
        let first = chosen.len();
        self.inner.finish(chosen)?;
        for (chosen, dictated) in chosen[first..].iter_mut().zip(&self.tokens) {
            *chosen = dictated.or(*chosen);
        }
        Ok(())
    }

    fn read_encoded(&mut self, work: &EncodeWork, out: &mut Vec<Vec<f32>>) {
        self.inner.read_encoded(work, out);
    }

    fn page_pieces(&self) -> PagePieces {
        self.inner.page_pieces()
    }

    fn best(&self, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        self.inner.best(asked, rules, out);
    }

    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.inner.score(asked, out);
    }
}
