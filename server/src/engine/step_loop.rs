//! Steps: plan, run, commit, and the messages that come of it.
//!
//! Driven by the engine thread. Owns the scheduler and the executor; knows no client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernels::{BestAsk, Candidate, ScoreAsk, TokenScore};

use super::executor::{Executor, ExecutorError};
use super::masks::{MaskLimits, MaskThreads};
use super::messages::{Message, News, Read, message, score_ask};
use super::report::Reporter;
use super::slots::QueueSlots;
use crate::overload::{StepTaken, Work};
use crate::request::{Caller, EncodeRequest, FailureKind, GenerationRequest, Refusal, RequestId};
use crate::scheduler::{Event, Found, Lane, Plan, Scheduler};
use crate::telemetry::EngineMetrics;

/// Everything that steps are run with.
pub(super) struct StepParts {
    /// Makes the plans.
    pub scheduler: Scheduler,
    /// Runs them.
    pub executor: Box<dyn Executor>,
    /// Learns what steps take.
    pub queue: QueueSlots,
}

/// The scheduler, the executor, and what a step fills, which is kept from step to step.
pub(super) struct StepLoop {
    scheduler: Scheduler,
    executor: Box<dyn Executor>,
    reporter: Reporter,
    queue: QueueSlots,
    masks: MaskThreads,
    plan: Plan,
    /// Outputs of the plan whose masks were late.
    late: Vec<u32>,
    /// When the batch of each lane of the encoder began.
    encoding_since: [Option<Instant>; Lane::ALL.len()],
    /// The plan after it, while `is_ahead`: started before the first is finished.
    next: Plan,
    next_late: Vec<u32>,
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
    pub fn new(parts: StepParts, masks: MaskLimits, metrics: Arc<EngineMetrics>) -> Self {
        let StepParts { scheduler, executor, queue } = parts;
        Self {
            scheduler,
            executor,
            queue,
            masks: MaskThreads::new(masks, Arc::clone(&metrics)),
            reporter: Reporter::new(metrics),
            plan: Plan::default(),
            late: Vec::new(),
            encoding_since: Default::default(),
            next: Plan::default(),
            next_late: Vec::new(),
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
        if let Some(beams) = asked.beams {
            self.reporter.metrics().steps.beam_width.observe(f64::from(beams.width));
        }
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

    /// Brings the metrics, and what the queue knows of the rows, up to date.
    pub fn report(&mut self) {
        self.queue.rows(self.scheduler.rows_taken(), self.scheduler.tokens_left());
        self.reporter.report(&self.scheduler, &self.queue.figures());
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
        let mut patience = self.masks.patience();
        self.see();
        self.chosen.clear();
        match self.run_plan(&mut patience) {
            Ok(()) => self.commit(),
            Err(error) => self.fail(&error),
        }
        self.masks.start(self.scheduler.take_moves());
        if self.plan.is_empty() && self.scheduler.awaits_places() {
            self.masks.wait_for_anything();
        } else {
            self.masks.wait(&mut patience);
        }
        self.see();
        if !self.plan.is_empty() {
            self.measure(began);
            self.tell_queue(began.elapsed());
        }
        // A client that has its answer finds it counted, so metrics come before messages.
        self.report();
    }

    /// Measures the step that began at this time.
    fn measure(&mut self, began: Instant) {
        let Self { plan, reporter, executor, encoding_since, .. } = self;
        let (metrics, rows) = (reporter.metrics(), plan.targets.len());
        metrics.step_seconds.observe(began.elapsed().as_secs_f64());
        metrics.step_rows.observe(rows as f64);
        metrics.steps.read_bytes.inc_by(executor.read_bytes(&plan.targets));
        let mut entered = 0;
        match plan.encode() {
            None => metrics.steps.decoded(rows, began.elapsed()),
            Some(encode) => {
                let since = &mut encoding_since[encode.lane.index()];
                if encode.is_first() {
                    entered = encode.tokens.len();
                    *since = Some(began);
                    metrics.encoder.batch_tokens.observe(entered as f64);
                }
                if let Some(since) = since.take_if(|_| encode.is_last) {
                    metrics.encoder.seconds.observe(since.elapsed().as_secs_f64());
                }
            }
        }
        metrics.steps.tokens.observe((entered + rows) as f64);
    }

    /// Tells the queue what the step took.
    fn tell_queue(&mut self, time: Duration) {
        let Self { scheduler, reporter, plan, .. } = self;
        // A step that does a part of the encoder's work does a part of the work of its tokens.
        let encoded = plan.encode().map_or(0, |encode| {
            encode.tokens.len() as u64 * encode.parts.len() as u64 / encode.all_parts.max(1) as u64
        });
        let rows = (plan.targets.len() as u64).saturating_sub(reporter.wrong_drafts(scheduler));
        let work = Work { source_tokens: encoded, target_tokens: rows };
        let (is_full, encodings_wait) = (scheduler.is_full(), scheduler.waiting_encodings() > 0);
        self.queue.step(&StepTaken { time, work, rows: plan.outputs.len(), is_full, encodings_wait });
    }

    /// The messages of the last step.
    pub fn take_messages(&mut self) -> impl Iterator<Item = Message> {
        self.messages.drain(..)
    }

    /// Starts the plan, unless it was started ahead; then, if possible, the plan after it; then waits for the first.
    fn run_plan(&mut self, patience: &mut Duration) -> Result<(), ExecutorError> {
        let Self { scheduler, executor, queue, masks, plan, late, next, next_late, .. } = self;
        if self.is_ahead {
            std::mem::swap(plan, next);
            std::mem::swap(late, next_late);
        } else {
            scheduler.limit_starts(queue.starts());
            scheduler.plan(plan);
            queue.begun(scheduler.rows_begun());
            masks.start(scheduler.take_moves());
            let masks = Masks { scheduler, threads: masks, patience, late };
            start(executor.as_mut(), masks, plan)?;
        }
        if executor.runs_ahead() {
            scheduler.limit_starts(queue.starts());
        }
        self.is_ahead = executor.runs_ahead() && scheduler.plan_ahead(next);
        if self.is_ahead {
            queue.begun(scheduler.rows_begun());
            masks.start(scheduler.take_moves());
            let masks = Masks { scheduler, threads: masks, patience, late: next_late };
            start(executor.as_mut(), masks, next)?;
        }
        executor.finish(&mut self.chosen)
    }

    /// Tells the scheduler what was seen of constraints.
    fn see(&mut self) {
        self.events.clear();
        for (place, seen) in self.masks.seen() {
            self.scheduler.see(place, seen, &mut self.events);
        }
        self.encoded.clear();
        self.tell();
    }

    fn commit(&mut self) {
        if let Some(encode) = self.plan.encode().filter(|encode| encode.is_last) {
            self.reporter.metrics().encoder_tokens.inc_by(encode.tokens.len() as u64);
        }
        self.events.clear();
        self.read_best();
        let found = Found { chosen: &self.chosen, best: &self.best, plan: &self.plan, late: &self.late };
        self.scheduler.commit(found, &mut self.events);
        self.encoded.clear();
        if let Some(encode) = self.plan.encode().filter(|encode| !encode.readouts.is_empty()) {
            self.executor.read_encoded(encode, &mut self.encoded);
        }
        self.tell();
        let ready = self.scheduler.take_encoded().into_iter();
        self.messages.extend(ready.map(|request| Message { request, news: News::SourceReady }));
    }

    /// Turns events into messages, with the scores that they carry.
    fn tell(&mut self) {
        self.asked.clear();
        self.asked.extend(self.events.iter().filter_map(score_ask));
        if !self.asked.is_empty() {
            self.executor.score(&self.asked, &mut self.scores);
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

/// Everything that a plan's masks need.
struct Masks<'a> {
    scheduler: &'a mut Scheduler,
    threads: &'a mut MaskThreads,
    /// The time that the step may still wait.
    patience: &'a mut Duration,
    /// Outputs without theirs.
    late: &'a mut Vec<u32>,
}

/// Starts a plan. Its masks are found while its rows run, if the executor starts these before the draws.
fn start(executor: &mut dyn Executor, masks: Masks<'_>, plan: &mut Plan) -> Result<(), ExecutorError> {
    let started = executor.encode(plan).and_then(|()| executor.decode(plan));
    let Masks { scheduler, threads, patience, late } = masks;
    let mut lacking = Vec::new();
    threads.settle(plan, patience, &mut lacking);
    late.clear();
    for ask in lacking {
        scheduler.await_mask(ask.place);
        late.push(ask.output);
    }
    started?;
    executor.draw(plan)
}
