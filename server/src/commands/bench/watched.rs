//! An executor that adds up the ops and the time of encoder runs and decode steps.
//!
//! Used by `profile`, whose engine runs on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernels::profiled::{Cost, Op, Profile};
use kernels::{BestAsk, Candidate, DrawRules, ScoreAsk, TokenScore};
use model::PagePieces;

use crate::engine::{Executor, ExecutorError};
use crate::scheduler::{EncodeWork, Plan};

/// Costs of a batch, shared by the engine's thread and the one that prints them.
#[derive(Clone, Default)]
pub struct Costs(Arc<Mutex<BatchCosts>>);

/// Costs of one batch so far.
#[derive(Default)]
pub struct BatchCosts {
    /// Sequences of the batch.
    batch: usize,
    /// Encoder runs.
    pub encoder: Phase,
    /// Decode steps in which every sequence had its row.
    pub decoder: Phase,
}

/// Costs of one kind of work.
#[derive(Default)]
pub struct Phase {
    /// How often it ran.
    pub runs: u32,
    /// Time from the start of each run to its end, with the time between its ops.
    pub whole: Duration,
    /// Time and bytes of each op.
    pub costs: BTreeMap<Op, Cost>,
}

/// A model's executor under watch.
pub struct Watched {
    inner: Box<dyn Executor>,
    profile: Profile,
    costs: Costs,
    /// End of the plan before.
    ended: Instant,
}

impl Costs {
    /// Begins with a batch of this size.
    pub fn begin(&self, batch: usize) {
        *self.lock() = BatchCosts { batch, ..BatchCosts::default() };
    }

    /// Takes the costs since the beginning.
    pub fn take(&self) -> BatchCosts {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BatchCosts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Phase {
    /// Adds a run, or the last part of one.
    pub fn add(&mut self, whole: Duration, costs: BTreeMap<Op, Cost>) {
        self.runs += 1;
        self.add_part(whole, costs);
    }

    /// Adds part of a run that goes on.
    fn add_part(&mut self, whole: Duration, costs: BTreeMap<Op, Cost>) {
        self.whole += whole;
        for (op, cost) in costs {
            let sum = self.costs.entry(op).or_default();
            *sum = *sum + cost;
        }
    }
}

impl Watched {
    /// Watches `inner`, whose backend reports its ops to `profile`.
    pub fn new(inner: Box<dyn Executor>, profile: Profile, costs: Costs) -> Self {
        Self { inner, profile, costs, ended: Instant::now() }
    }

    /// Time of a run. A device's clock gives every op its share of the time between the ops, so their sum is the whole.
    fn whole(&self, costs: &BTreeMap<Op, Cost>, elapsed: Duration) -> Duration {
        if self.profile.is_by_device() { costs.values().map(|cost| cost.time).sum() } else { elapsed }
    }
}

impl Executor for Watched {
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        let began = Instant::now();
        self.inner.encode(plan)?;
        if let Some(work) = plan.encode() {
            let costs = self.profile.take();
            let whole = self.whole(&costs, began.elapsed());
            let mut seen = self.costs.lock();
            if work.is_last {
                seen.encoder.add(whole, costs);
            } else {
                seen.encoder.add_part(whole, costs);
            }
        }
        Ok(())
    }

    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        self.inner.decode(plan)
    }

    fn draw(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        self.inner.draw(plan)?;
        let costs = self.profile.take();
        let previous = std::mem::replace(&mut self.ended, Instant::now());
        let whole = self.whole(&costs, self.ended - previous);
        let mut seen = self.costs.lock();
        // Whole steps only: while sources are encoded, some rows are still missing.
        if plan.encode().is_none() && plan.targets.len() == seen.batch {
            seen.decoder.add(whole, costs);
        }
        Ok(())
    }

    fn finish(&mut self, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError> {
        self.inner.finish(chosen)
    }

    fn page_pieces(&self) -> PagePieces {
        self.inner.page_pieces()
    }

    fn best(&self, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        self.inner.best(asked, rules, out);
    }

    fn read_encoded(&mut self, work: &EncodeWork, out: &mut Vec<Vec<f32>>) {
        self.inner.read_encoded(work, out);
    }

    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.inner.score(asked, out);
    }
}
