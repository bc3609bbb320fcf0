//! A scheduler, the fake model and clients around them. Every invariant is asserted in every step.

use std::collections::BTreeMap;

use model::{EncoderCost, PagePieces};

use super::alone::Answer;
use super::clients::{Client, Reader};
use super::fake_model::{END, FakeModel, START, StepResult, VOCABULARY};
use super::threads::Threads;
use crate::request::{CallId, Caller, EncodeRequest, FinishReason, GenerationRequest, Priority, Readout, RequestId};
use crate::scheduler::{BoundaryTokens, Event, Found, Lane, Plan, PoolSize, Scheduler, SchedulerLimits};

/// The longest source of tests whose encoder divides its layers.
const LONGEST_SOURCE: usize = 150;

/// Roomy limits that tests narrow.
pub const LIMITS: SchedulerLimits = SchedulerLimits {
    pool: PoolSize { pages: 64, source_page_tokens: 16, pieces: PagePieces::ONE },
    running_rows: 8,
    call_rows: 8,
    step_rows: 16,
    step_encoder_tokens: 64,
    draft_rows: 0,
    encoder: EncoderCost::undivided(4),
};

/// A request of one greedy choice that ends by length alone.
pub fn asks(source: &[u32], max_tokens: u32) -> GenerationRequest {
    GenerationRequest { ignore_end: true, ..GenerationRequest::new(source, max_tokens) }
}

/// Roomy limits with this many pages.
pub fn with_pages(pages: usize) -> SchedulerLimits {
    SchedulerLimits { pool: PoolSize { pages, ..LIMITS.pool }, ..LIMITS }
}

/// The caller of call number `call`, without a salt.
pub fn caller(call: u64) -> Caller {
    Caller { call: CallId(call), ..Caller::default() }
}

/// A source of this many tokens, all of which are `name`.
pub fn source(name: u32, tokens: usize) -> Vec<u32> {
    vec![name; tokens]
}

/// The scheduler with its model and clients.
#[derive(Debug)]
pub struct World {
    pub limits: SchedulerLimits,
    pub scheduler: Scheduler,
    pub plan: Plan,
    /// Plans are made and run ahead wherever the scheduler allows it.
    pub runs_ahead: bool,
    /// Number of plans made ahead.
    pub ahead: usize,
    next: Plan,
    /// Results of `next`.
    pub next_result: Option<StepResult>,
    pub threads: Threads,
    pub clients: BTreeMap<RequestId, Client>,
    pub readers: BTreeMap<RequestId, Reader>,
    /// Requests in the order in which they started.
    pub started: Vec<RequestId>,
    pub steps: usize,
    pub model: FakeModel,
    events: Vec<Event>,
    /// Number of steps after which all submitted requests must be done.
    pub step_bound: usize,
    /// Steps that all idle requests take alone.
    idle_steps: usize,
    /// Steps that requests may take longer when encoder requests come between them.
    steps_of_readers: usize,
}

impl World {
    pub fn new(limits: SchedulerLimits) -> Self {
        let tokens = BoundaryTokens { start: START, end: END.to_vec(), vocabulary: VOCABULARY };
        Self {
            limits,
            scheduler: Scheduler::new(limits, tokens),
            plan: Plan::default(),
            runs_ahead: false,
            ahead: 0,
            next: Plan::default(),
            next_result: None,
            threads: Threads::default(),
            clients: BTreeMap::new(),
            readers: BTreeMap::new(),
            started: Vec::new(),
            steps: 0,
            model: FakeModel::new(limits.pool, limits.encoder),
            events: Vec::new(),
            step_bound: 0,
            idle_steps: 0,
            steps_of_readers: 0,
        }
    }

    /// A world in which plans are made ahead.
    pub fn running_ahead(limits: SchedulerLimits) -> Self {
        Self { runs_ahead: true, ..Self::new(limits) }
    }

    /// A world in which constraints take this many steps at most, sometimes.
    pub fn with_slow_constraints(self, steps: usize) -> Self {
        Self { threads: Threads::slow(steps), ..self }
    }

    pub fn submit(&mut self, asked: GenerationRequest) -> RequestId {
        self.submit_as(&caller(self.clients.len() as u64 + 1), asked)
    }

    /// Submits a request of this caller, which may have others.
    pub fn submit_as(&mut self, caller: &Caller, asked: GenerationRequest) -> RequestId {
        let id = self.next_id();
        self.scheduler.submit(id, caller, asked.clone()).unwrap();
        let choices = asked.choices as usize;
        // The oldest sequence moves on in every step: by a target position, or by a part of a source before it in the
        // encoder's queue, which never holds more sources than sequences run. Lanes take turns.
        let positions = asked.decoder_prompt.len() + asked.max_tokens as usize;
        let encoding = choices * 2 * (self.limits.running_rows + 2) * self.most_parts();
        let steps = choices * positions + encoding + 2;
        // Every idle sequence may have to begin again for an interactive one.
        self.step_bound += steps + if caller.priority == Priority::Interactive { self.idle_steps } else { 0 };
        self.idle_steps += if caller.priority == Priority::Idle { steps } else { 0 };
        // Sources and encoder requests take turns in each lane.
        self.steps_of_readers += encoding;
        if asked.constraint.is_some() {
            // What may come first is found while the source is encoded, or while it is found in the cache.
            self.step_bound += choices * (1 + (positions + 1) * self.threads.steps_of_a_token());
        }
        if asked.exact_search().is_some() {
            // The beginnings of each step of the search may take several steps to run again.
            self.step_bound += asked.exact_steps as usize * 8;
        }
        if self.runs_ahead {
            // A waiting sequence may have to wait for a step that was planned before its place was free.
            self.step_bound += 2 * choices;
        }
        let answers = (0..choices).map(|_| Answer::default()).collect();
        let (priority, cancelled) = (caller.priority, vec![false; choices]);
        self.clients
            .insert(id, Client { asked, priority, started: None, answers, cancelled, failure: None, is_struck: false });
        id
    }

    /// Submits an encoder request of a call of its own.
    pub fn encode(&mut self, source: &[u32], readout: Readout) -> RequestId {
        self.encode_as(&caller(1000 + self.readers.len() as u64), EncodeRequest { source: source.into(), readout })
    }

    /// Submits an encoder request of this caller.
    pub fn encode_as(&mut self, caller: &Caller, asked: EncodeRequest) -> RequestId {
        let id = self.next_id();
        self.scheduler.submit_encoding(id, caller, asked.clone());
        self.step_bound += 4 * self.most_parts() + 2 + std::mem::take(&mut self.steps_of_readers);
        self.readers.insert(id, Reader { asked, started: false, result: None, cancelled: false });
        id
    }

    fn next_id(&self) -> RequestId {
        RequestId((self.clients.len() + self.readers.len()) as u64 + 1)
    }

    pub fn cancel(&mut self, id: RequestId, choice: Option<u32>) {
        self.scheduler.cancel(id, choice);
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.cancelled = true;
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        match choice {
            None => client.cancelled.fill(true),
            Some(choice) => client.cancelled[choice as usize] = true,
        }
    }

    /// Plans and runs a step. The caller commits it.
    pub fn plan_and_run(&mut self) -> StepResult {
        let result = match self.next_result.take() {
            Some(result) => {
                std::mem::swap(&mut self.plan, &mut self.next);
                result
            }
            None => self.plan_now(),
        };
        self.steps += 1;
        if self.runs_ahead && self.scheduler.plan_ahead(&mut self.next) {
            self.ahead += 1;
            assert!(!self.next.is_empty());
            self.check_limits(&self.next);
            self.check_books();
            self.threads.take(&mut self.scheduler);
            let late = self.threads.settle(&mut self.scheduler, &mut self.next);
            self.next_result = Some(StepResult { late, ..self.model.run(&self.next, &result.chosen) });
        }
        result
    }

    fn plan_now(&mut self) -> StepResult {
        let oldest = self.scheduler.running.first().map(|running| running.sequence.turn());
        self.scheduler.plan(&mut self.plan);
        if oldest.is_some_and(|oldest| oldest.priority == Priority::Interactive) {
            let still = self.scheduler.running.first().map(|running| running.sequence.turn());
            assert_eq!(still, oldest, "the oldest running sequence is never preempted");
        }
        self.check_limits(&self.plan);
        self.check_books();
        let Scheduler { running, queue, memory, .. } = &self.scheduler;
        let nothing_is_left = running.is_empty() && queue.is_empty() && memory.encoder.open_encodings() == 0;
        let has_to_wait = nothing_is_left || self.scheduler.awaits_places();
        assert!(!self.plan.is_empty() || has_to_wait, "while anything is left to do, every step does something");
        self.run_plan()
    }

    /// Runs the plan that was made.
    pub fn run_plan(&mut self) -> StepResult {
        self.threads.take(&mut self.scheduler);
        let late = self.threads.settle(&mut self.scheduler, &mut self.plan);
        StepResult { late, ..self.model.run(&self.plan, &[]) }
    }

    pub fn commit(&mut self, result: &StepResult) -> Vec<Event> {
        self.events.clear();
        let found = Found { chosen: &result.chosen, best: &result.best, plan: &self.plan, late: &result.late };
        self.scheduler.commit(found, &mut self.events);
        self.threads.take(&mut self.scheduler);
        self.threads.work(&mut self.scheduler, &mut self.events);
        self.check_books();
        let events = self.events.clone();
        self.tell(&events, result);
        events
    }

    /// Tells clients what happened in a step, and in constraints after it.
    pub fn tell(&mut self, events: &[Event], result: &StepResult) {
        let mut failed = Vec::new();
        for event in events {
            // After a failure events of the request's other choices may follow from the same step, and none later.
            if !failed.contains(&event.request()) {
                self.deliver(event, result);
            }
            failed.extend(matches!(event, Event::Failed { .. }).then_some(event.request()));
        }
    }

    /// Runs a step and returns its events, with those of constraints after it.
    pub fn step(&mut self) -> Vec<Event> {
        let result = self.plan_and_run();
        self.commit(&result)
    }

    /// Steps until nothing is left, within the bound.
    pub fn run(&mut self) {
        while !self.scheduler.is_idle() {
            self.step();
            assert!(self.steps <= self.step_bound, "not done after {} steps", self.steps);
        }
    }

    /// Most parts of the encoder's work on a source that tests ask for.
    fn most_parts(&self) -> usize {
        let SchedulerLimits { encoder, step_encoder_tokens, .. } = self.limits;
        encoder.all_parts(encoder.parts_of_layer(LONGEST_SOURCE, step_encoder_tokens))
    }

    fn check_limits(&self, plan: &Plan) {
        assert!(plan.targets.len() <= self.limits.step_rows);
        assert!(self.scheduler.running_rows() <= self.limits.running_rows);
        let Some(encode) = plan.encode() else { return };
        let budget = self.limits.step_encoder_tokens;
        let tokens = encode.tokens.len();
        assert!(tokens <= budget || encode.segments.len() == 1, "a batch of several keeps to the budget");
        assert_eq!(encode.lane == Lane::Long, tokens > budget, "a source that is longer has its lane");
        let cost = encode.parts.len() * tokens;
        assert!(cost <= budget * self.limits.encoder.layers || encode.parts.len() == 1);
    }

    pub fn check_books(&self) {
        self.scheduler.check_conservation().unwrap();
        let counts = self.scheduler.counts();
        assert_eq!(counts.free + counts.held + counts.cached, self.limits.pool.pages);
        assert!(self.scheduler.held_tokens() <= self.scheduler.held_room());
        let least = self.limits.pool.source_page_tokens.min(kernels::PAGE_TOKENS);
        assert!(self.scheduler.held_room() >= counts.held * least);
    }
}

/// The requests of which a choice finished, and why.
pub fn finished(events: &[Event]) -> Vec<(RequestId, FinishReason)> {
    let reasons = events.iter().filter_map(|event| match *event {
        Event::Finished { request, reason, .. } => Some((request, reason)),
        _ => None,
    });
    reasons.collect()
}
