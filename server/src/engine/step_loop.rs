//! Steps: plan, run, commit, and the messages that come of it.
//!
//! Driven by the engine thread. Owns the scheduler and the executor; knows no client.

use std::sync::Arc;
use std::time::Instant;

use kernels::{BestAsk, Candidate, ScoreAsk, TokenScore};

use super::executor::{Executor, ExecutorError};
use super::masks::MaskThreads;
use super::messages::{Message, News, Read, message, score_ask};
use super::report::Reporter;
use crate::request::{Caller, EncodeRequest, FailureKind, GenerationRequest, Refusal, RequestId};
use crate::scheduler::{Event, Found, Plan, Scheduler};
use crate::telemetry::EngineMetrics;

/// Threads that find masks: a mask takes a tenth of a millisecond, a step of many rows asks for many.
const MASK_THREADS: usize = 2;

/// The scheduler, the executor, and what a step fills, which is kept from step to step.
pub(super) struct StepLoop {
    scheduler: Scheduler,
    executor: Box<dyn Executor>,
    reporter: Reporter,
    masks: MaskThreads,
    plan: Plan,
    /// The plan after it, while `is_ahead`: started before the first is finished.
    next: Plan,
    is_ahead: bool,
    chosen: Vec<Option<u32>>,
    best: Vec<Vec<Candidate>>,
    events: Vec<Event>,
    asked: Vec<ScoreAsk>,
    scores: Vec<TokenScore>,
    encoded: Vec<Vec<f32>>,
    messages: Vec<Message>,
}

impl StepLoop {
    /// No step was run yet.
    pub fn new(scheduler: Scheduler, executor: Box<dyn Executor>, metrics: Arc<EngineMetrics>) -> Self {
        Self {
            scheduler,
            executor,
            reporter: Reporter::new(metrics),
            masks: MaskThreads::new(MASK_THREADS),
            plan: Plan::default(),
            next: Plan::default(),
            is_ahead: false,
            chosen: Vec::new(),
            best: Vec::new(),
            events: Vec::new(),
            asked: Vec::new(),
            scores: Vec::new(),
            encoded: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Calls [`Scheduler::submit`].
    pub fn submit(&mut self, id: RequestId, caller: &Caller, asked: GenerationRequest) -> Result<(), Refusal> {
        self.scheduler.submit(id, caller, asked)
    }

    /// Calls [`Scheduler::submit_encoding`].
    pub fn submit_encoding(&mut self, id: RequestId, caller: &Caller, asked: EncodeRequest) {
        self.scheduler.submit_encoding(id, caller, asked);
    }

    /// Calls [`Scheduler::cancel`].
    pub fn cancel(&mut self, id: RequestId, choice: Option<u32>) {
        self.scheduler.cancel(id, choice);
    }

    /// Whether nothing is left to do or to tell.
    pub fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    /// Brings the metrics up to date.
    pub fn report(&mut self) {
        self.reporter.report(&self.scheduler);
    }

    /// Checks the scheduler's books.
    ///
    /// # Panics
    /// When they do not balance.
    pub fn check_pages(&self) {
        if let Err(imbalance) = self.scheduler.check_conservation() {
            panic!("page accounting is wrong: {imbalance}");
        }
    }

    /// Runs one step. Its messages are to be taken before the next.
    pub fn run(&mut self) {
        let began = Instant::now();
        self.chosen.clear();
        match self.run_plan() {
            Ok(()) => self.commit(),
            Err(error) => self.fail(&error),
        }
        if !self.plan.is_empty() {
            let metrics = self.reporter.metrics();
            metrics.step_seconds.observe(began.elapsed().as_secs_f64());
            metrics.step_rows.observe(self.plan.targets.len() as f64);
        }
        // A client that has its answer finds it counted, so metrics come before messages.
        self.report();
    }

    /// The messages of the last step.
    pub fn take_messages(&mut self) -> impl Iterator<Item = Message> {
        self.messages.drain(..)
    }

    /// Starts the plan, unless it was started ahead; then, if possible, the plan after it; then waits for the first.
    fn run_plan(&mut self) -> Result<(), ExecutorError> {
        let Self { scheduler, executor, masks, plan, next, .. } = self;
        if self.is_ahead {
            std::mem::swap(plan, next);
        } else {
            scheduler.plan(plan);
            start(executor.as_mut(), masks, plan)?;
        }
        self.is_ahead = executor.runs_ahead() && scheduler.plan_ahead(next);
        if self.is_ahead {
            start(executor.as_mut(), masks, next)?;
        }
        executor.finish(&mut self.chosen)
    }

    fn commit(&mut self) {
        if let Some(encode) = self.plan.encode().filter(|encode| encode.is_last) {
            self.reporter.metrics().encoder_tokens.inc_by(encode.tokens.len() as u64);
        }
        self.events.clear();
        self.read_best();
        let found = Found { chosen: &self.chosen, best: &self.best, plan: &self.plan };
        self.scheduler.commit(found, &mut self.events);
        self.asked.clear();
        self.asked.extend(self.events.iter().filter_map(score_ask));
        self.executor.score(&self.asked, &mut self.scores);
        self.encoded.clear();
        if let Some(encode) = self.plan.encode().filter(|encode| !encode.readouts.is_empty()) {
            self.executor.read_encoded(encode, &mut self.encoded);
        }
        let mut read = Read { scores: self.scores.drain(..), encoded: &mut self.encoded };
        for event in &self.events {
            let Some(message) = message(event, &mut read) else { continue };
            if matches!(message.news, News::Failed { .. }) {
                // The scheduler knows no scores, so it may not have noticed.
                self.scheduler.cancel(message.request, None);
            }
            self.messages.push(message);
        }
    }

    /// Reads the candidates for beam searches.
    fn read_best(&mut self) {
        self.best.clear();
        let asked: Vec<BestAsk> = self.plan.best_asks().copied().collect();
        if !asked.is_empty() {
            self.executor.best(&asked, &self.plan.rules, &mut self.best);
        }
    }

    fn fail(&mut self, error: &ExecutorError) {
        assert!(!self.is_ahead, "an executor that runs ahead does not fail");
        let mut failed = Vec::new();
        self.scheduler.fail_step(&mut failed);
        let news = News::Failed { message: error.to_string(), kind: FailureKind::Passing };
        self.messages.extend(failed.into_iter().map(|request| Message { request, news: news.clone() }));
    }
}

/// Starts a plan. Its masks are found while its rows run, if the executor starts these before the draws.
fn start(executor: &mut dyn Executor, masks: &mut MaskThreads, plan: &mut Plan) -> Result<(), ExecutorError> {
    masks.start(&plan.masks);
    let started = executor.encode(plan).and_then(|()| executor.decode(plan));
    masks.finish(&mut plan.rules);
    // What was asked holds its request.
    plan.masks.clear();
    started?;
    executor.draw(plan)
}
