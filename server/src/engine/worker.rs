//! The engine thread: commands in, steps run, events out.
//!
//! Started by [`Engine::start`]. The loop is: take what was asked, plan, run, commit, tell. It sleeps when there is
//! nothing to do. If it panics the process ends: without it no request would ever be answered again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernels::{ScoreAsk, TokenScore};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::executor::{Executor, ExecutorError};
use super::handle::{Command, EngineHandle, Queue, Slots, Submission};
use super::limits::EngineLimits;
use super::pulse::Pulse;
use crate::process::log;
use crate::request::{GenerationEvent, RequestId};
use crate::scheduler::{BoundaryTokens, Event, Plan, Scheduler};
use crate::telemetry::Metrics;

/// A place in the queue that is given back unused says nothing, so before the end it is looked for.
const LAST_PLACES_POLL: Duration = Duration::from_millis(5);
/// An idle engine wakes as often to show that it lives.
const IDLE_BEAT: Duration = Duration::from_millis(250);
/// What the log may take to be written before a process that cannot go on ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    /// The way in.
    pub handle: EngineHandle,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<Infallible>,
}

/// What an engine is built from, beside its executor.
#[derive(Debug)]
pub struct EngineSettings {
    /// How much the engine takes and holds at once.
    pub limits: EngineLimits,
    /// Start and end tokens.
    pub tokens: BoundaryTokens,
    /// Where to count.
    pub metrics: Metrics,
}

impl Engine {
    /// Starts the thread. `executor` must have room for what `settings` allow.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(executor: Box<dyn Executor>, settings: EngineSettings) -> std::io::Result<Self> {
        let (sender, commands) = channel();
        let handle = EngineHandle::new(sender, settings.limits);
        let worker = Worker {
            queue: handle.queue(),
            scheduler: Scheduler::new(settings.limits.steps, settings.tokens),
            executor,
            commands,
            open: HashMap::new(),
            metrics: settings.metrics,
            pulse: handle.pulse(),
            draining: false,
        };
        worker.report();
        let (alive, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            let _held_to_the_end = alive;
            worker.run_or_abort();
        })?;
        Ok(Self { handle, thread, ended })
    }

    /// Returns when the engine's thread has ended, for whatever reason.
    pub async fn ended(&mut self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = (&mut self.ended).await;
    }

    /// Waits until the engine has finished what it had after [`EngineHandle::drain`].
    pub fn join(self) {
        // A thread that panicked has ended the process.
        let _ = self.thread.join();
    }
}

/// A request's way back to its client.
struct Open {
    events: UnboundedSender<GenerationEvent>,
    /// Choices that are neither finished nor cancelled.
    alive: Vec<bool>,
    /// The places in the queue of choices that have not begun.
    slots: Option<Slots>,
    /// Choices that have begun, and no place in the queue any more.
    begun: Vec<bool>,
}

impl Open {
    /// A choice has a row, or will never have one: its place in the queue is free.
    fn begin(&mut self, choice: u32) {
        if let Some(begun) = self.begun.get_mut(choice as usize)
            && !std::mem::replace(begun, true)
            && let Some(slots) = &mut self.slots
        {
            drop(slots.split(1));
        }
    }

    /// A choice sends nothing more; whether it was the last one.
    fn end(&mut self, choice: u32) -> bool {
        self.begin(choice);
        if let Some(alive) = self.alive.get_mut(choice as usize) {
            *alive = false;
        }
        !self.alive.contains(&true)
    }
}

struct Worker {
    scheduler: Scheduler,
    executor: Box<dyn Executor>,
    commands: Receiver<Command>,
    queue: Queue,
    open: HashMap<RequestId, Open>,
    metrics: Metrics,
    pulse: Pulse,
    draining: bool,
}

/// What one step fills; kept from step to step.
#[derive(Default)]
struct Step {
    plan: Plan,
    /// The one after it, while `is_ahead`: started before the step is finished.
    next: Plan,
    is_ahead: bool,
    chosen: Vec<Option<u32>>,
    events: Vec<Event>,
    asked: Vec<ScoreAsk>,
    scores: Vec<TokenScore>,
    messages: Vec<(RequestId, GenerationEvent)>,
}

impl Worker {
    fn run_or_abort(self) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if outcome.is_err() {
            tracing::error!("the engine thread panicked: no request can be answered any more");
            // Nothing may keep the process from its end, least of all a log that cannot be written.
            log::flush(LAST_WORDS);
            std::process::abort();
        }
    }

    fn run(mut self) {
        let mut step = Step::default();
        while self.listen() {
            self.step(&mut step);
        }
        self.check_pages();
    }

    /// Takes all commands; sleeps for one when idle. False when the engine is to end.
    fn listen(&mut self) -> bool {
        loop {
            self.pulse.beat();
            if self.scheduler.is_idle() {
                self.check_pages();
                if self.draining && self.queue.close() {
                    return false;
                }
                match self.wait() {
                    Ok(command) => self.obey(command),
                    Err(RecvTimeoutError::Timeout) => {}
                    // Without a handle left nothing can ever be asked again.
                    Err(RecvTimeoutError::Disconnected) => return false,
                }
                continue;
            }
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn wait(&self) -> Result<Command, RecvTimeoutError> {
        // At the end somebody may have a place in the queue and still tokenise.
        self.commands.recv_timeout(if self.draining { LAST_PLACES_POLL } else { IDLE_BEAT })
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(submission) => self.submit(submission),
            Command::Cancel { id, choice } => self.cancel(id, choice),
            Command::Drain => self.draining = true,
        }
        self.report();
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { id, request, events, slot } = submission;
        let choices = request.choices as usize;
        let caller = slot.caller().clone();
        self.open
            .insert(id, Open { events, alive: vec![true; choices], slots: Some(slot), begun: vec![false; choices] });
        if let Err(refusal) = self.scheduler.submit(id, &caller, request) {
            self.tell(id, GenerationEvent::Failed { message: refusal.to_string(), is_lasting: true });
        }
    }

    fn cancel(&mut self, id: RequestId, choice: Option<u32>) {
        let Some(open) = self.open.get_mut(&id) else { return };
        self.scheduler.cancel(id, choice);
        if choice.is_none_or(|choice| open.end(choice)) {
            self.open.remove(&id);
        }
    }

    fn step(&mut self, step: &mut Step) {
        let began = Instant::now();
        step.chosen.clear();
        match self.run_step(step) {
            Ok(()) => self.commit(step),
            Err(error) => self.fail_step(&error, step),
        }
        if !step.plan.is_empty() {
            self.metrics.step_seconds.observe(began.elapsed().as_secs_f64());
            self.metrics.step_rows.observe(step.plan.tokens.len() as f64);
        }
        // Whoever has an answer finds it counted: metrics come first.
        self.report();
        for (id, message) in step.messages.drain(..) {
            self.tell(id, message);
        }
    }

    /// Starts the step, unless that was done ahead, then if it can the one after it, and waits for the first.
    fn run_step(&mut self, step: &mut Step) -> Result<(), ExecutorError> {
        if step.is_ahead {
            std::mem::swap(&mut step.plan, &mut step.next);
        } else {
            self.scheduler.plan(&mut step.plan);
            self.executor.encode(&step.plan)?;
            self.executor.decode(&step.plan)?;
        }
        step.is_ahead = self.executor.runs_ahead() && self.scheduler.plan_ahead(&mut step.next);
        if step.is_ahead {
            self.executor.encode(&step.next)?;
            self.executor.decode(&step.next)?;
        }
        self.executor.finish(&mut step.chosen)
    }

    fn commit(&mut self, step: &mut Step) {
        if let Some(encode) = step.plan.encode().filter(|encode| encode.is_last) {
            self.metrics.encoder_tokens.inc_by(encode.tokens.len() as u64);
        }
        step.events.clear();
        self.scheduler.commit(&step.chosen, &mut step.events);
        step.asked.clear();
        step.asked.extend(step.events.iter().filter_map(score_ask));
        self.executor.score(&step.asked, &mut step.scores);
        let mut scores = step.scores.drain(..);
        for event in &step.events {
            let (id, message) = (event.request(), message(event, &mut scores));
            if matches!(message, GenerationEvent::Failed { .. }) {
                // The scheduler need not have noticed: it knows no scores.
                self.scheduler.cancel(id, None);
            }
            step.messages.push((id, message));
        }
    }

    fn fail_step(&mut self, error: &ExecutorError, step: &mut Step) {
        assert!(!step.is_ahead, "an executor that runs ahead does not fail");
        let mut failed = Vec::new();
        self.scheduler.fail_step(&mut failed);
        let message = GenerationEvent::Failed { message: error.to_string(), is_lasting: false };
        step.messages.extend(failed.into_iter().map(|id| (id, message.clone())));
    }

    fn tell(&mut self, id: RequestId, message: GenerationEvent) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let is_over = match &message {
            GenerationEvent::Started { .. } => {
                // Choices have their turns in order.
                open.begin(0);
                false
            }
            GenerationEvent::Scored { choice, .. } | GenerationEvent::Token { choice, .. } => {
                open.begin(*choice);
                false
            }
            GenerationEvent::Finished { choice, .. } => open.end(*choice),
            GenerationEvent::Failed { message, .. } => {
                tracing::error!(request = id.0, message, "a request failed");
                true
            }
        };
        // A client that is gone needs no telling.
        let _ = open.events.send(message);
        if is_over {
            self.open.remove(&id);
        }
    }

    /// Nothing may be lost; the quietest moment is the cheapest one to look.
    fn check_pages(&self) {
        if let Err(imbalance) = self.scheduler.check_conservation() {
            panic!("page accounting is wrong: {imbalance}");
        }
    }

    fn report(&self) {
        let (counts, metrics) = (self.scheduler.counts(), &self.metrics);
        metrics.pages_free.set(counts.free as i64);
        metrics.pages_held.set(counts.held as i64);
        metrics.pages_cached.set(counts.cached as i64);
        metrics.running_rows.set(self.scheduler.running() as i64);
        metrics.waiting_rows.set(self.scheduler.waiting() as i64);
        let pages = counts.free + counts.held + counts.cached;
        metrics.page_usage_ratio.set(counts.held as f64 / pages.max(1) as f64);
        let room = self.scheduler.held_room();
        let waste = if room == 0 { 0.0 } else { 1.0 - self.scheduler.held_tokens() as f64 / room as f64 };
        metrics.page_waste_ratio.set(waste);
        let counters = self.scheduler.counters();
        metrics.encoder_runs.inc_by(counters.encoder_runs - metrics.encoder_runs.get());
        metrics.cross_cache_hits.inc_by(counters.cache_hits - metrics.cross_cache_hits.get());
        metrics.preemptions.inc_by(counters.preemptions - metrics.preemptions.get());
    }
}

/// The log-probabilities that an event carries.
fn score_ask(event: &Event) -> Option<ScoreAsk> {
    let (token, at) = match *event {
        Event::Scored { token, score, .. } => (token, Some(score)),
        Event::Token { token, score, .. } => (token, score),
        Event::Started { .. } | Event::Finished { .. } | Event::Failed { .. } => return None,
    };
    at.map(|at| ScoreAsk { row: at.logits_row, id: token, top: at.top })
}

/// What a client is told of a request whose logits are not finite.
fn no_finite_logits() -> GenerationEvent {
    GenerationEvent::Failed { message: "the model gave no finite logits for this request".to_owned(), is_lasting: true }
}

/// What a client is told of an event; `scores` are those of all events, in their order.
fn message(event: &Event, scores: &mut impl Iterator<Item = TokenScore>) -> GenerationEvent {
    let mut next = || scores.next().expect("each score that was asked for is there");
    match *event {
        Event::Started { cached_tokens, .. } => GenerationEvent::Started { cached_tokens },
        Event::Scored { choice, .. } => match next() {
            score if score.is_of_distribution() => GenerationEvent::Scored { choice, score },
            _ => no_finite_logits(),
        },
        Event::Token { choice, token, score, .. } => match score.map(|_| next()) {
            Some(score) if !score.is_of_distribution() => no_finite_logits(),
            score => GenerationEvent::Token { choice, id: token, score },
        },
        Event::Finished { choice, reason, .. } => GenerationEvent::Finished { choice, reason },
        Event::Failed { .. } => no_finite_logits(),
    }
}
