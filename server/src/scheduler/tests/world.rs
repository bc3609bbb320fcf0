//! A scheduler, the fake model and clients around them. Every invariant is asserted in every step.

use std::collections::BTreeMap;

use super::alone::{Answer, answer_alone, encoded_alone};
use super::fake_model::{BROKEN, END, FakeModel, START, StepResult, VOCABULARY, digest_in, hold_digest};
use super::threads::Threads;
use crate::request::{CallId, Caller, EncodeRequest, FinishReason, GenerationRequest, Priority, Readout, RequestId};
use crate::scheduler::{
    BoundaryTokens, Event, Found, Lane, NoToken, Plan, PoolSize, Scheduler, SchedulerLimits, TokenScoreAt,
};

/// Roomy limits that tests narrow.
pub const LIMITS: SchedulerLimits = SchedulerLimits {
    pool: PoolSize { pages: 64, source_page_tokens: 16 },
    running_rows: 8,
    call_rows: 8,
    step_rows: 16,
    step_encoder_tokens: 64,
    draft_rows: 0,
    encoder_layers: 4,
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

/// A client, and the events it has received.
#[derive(Debug)]
pub struct Client {
    pub asked: GenerationRequest,
    pub priority: Priority,
    pub started: Option<u32>,
    pub answers: Vec<Answer>,
    pub cancelled: Vec<bool>,
    /// Why it failed; taken out by tests that made it fail.
    pub failure: Option<NoToken>,
}

/// A client of an encoder request.
#[derive(Debug)]
pub struct Reader {
    pub asked: EncodeRequest,
    pub started: bool,
    /// A digest of the result.
    pub result: Option<u64>,
    pub cancelled: bool,
}

/// The scheduler with its model and clients.
#[derive(Debug)]
pub struct World {
    pub limits: SchedulerLimits,
    pub scheduler: Scheduler,
    pub plan: Plan,
    /// Plans are made and run ahead wherever the scheduler allows it.
    runs_ahead: bool,
    /// Number of plans made ahead.
    pub ahead: usize,
    next: Plan,
    /// Results of `next`.
    next_result: Option<StepResult>,
    pub threads: Threads,
    pub clients: BTreeMap<RequestId, Client>,
    pub readers: BTreeMap<RequestId, Reader>,
    /// Requests in the order in which they started.
    pub started: Vec<RequestId>,
    pub steps: usize,
    model: FakeModel,
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
            model: FakeModel::new(limits.pool, limits.encoder_layers),
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
        // The oldest sequence moves on in every step: by a target position, or by a layer of a source before it in the
        // encoder's queue, which never holds more sources than sequences run. Lanes take turns.
        let positions = asked.decoder_prompt.len() + asked.max_tokens as usize;
        let encoding = choices * 2 * (self.limits.running_rows + 2) * self.limits.encoder_layers;
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
        self.clients.insert(id, Client { asked, priority, started: None, answers, cancelled, failure: None });
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
        self.step_bound += 4 * self.limits.encoder_layers + 2 + std::mem::take(&mut self.steps_of_readers);
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
        let mut failed = Vec::new();
        for event in &events {
            // After a failure events of the request's other choices may follow from the same step, and none later.
            if !failed.contains(&event.request()) {
                self.deliver(event, result);
            }
            failed.extend(matches!(event, Event::Failed { .. }).then_some(event.request()));
        }
        events
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

    /// Asserts that the world is idle and that every client that did not cancel got what it would get alone.
    pub fn check_answers(&self) {
        assert!(self.scheduler.is_idle());
        assert_eq!(self.scheduler.counts().held, 0);
        for (id, reader) in self.readers.iter().filter(|(_, reader)| !reader.cancelled) {
            assert!(reader.started && reader.result == Some(encoded_alone(&reader.asked)), "{id:?}: {reader:?}");
        }
        for (id, client) in &self.clients {
            if client.failure == Some(NoToken::NotFinite) {
                assert!(client.asked.source.contains(&BROKEN), "{id:?} has logits that are numbers");
            }
            let alone = |choice: usize| answer_alone(&client.asked, u32::try_from(choice).unwrap());
            if client.failure == Some(NoToken::NothingLeft) && !client.asked.source.contains(&BROKEN) {
                let fails = (0..client.answers.len()).any(|choice| alone(choice).finish.is_none());
                assert!(fails, "{id:?} finds tokens alone");
            }
            for (choice, answer) in client.answers.iter().enumerate() {
                if !client.cancelled[choice] {
                    assert!(client.started.is_some());
                    let alone = alone(choice);
                    assert_eq!(*answer, alone, "{id:?} choice {choice}");
                }
            }
        }
    }

    /// Whether a request is answered without the model.
    pub fn is_trivial(&self, id: RequestId) -> bool {
        let asked = &self.clients[&id].asked;
        let scored = asked.prompt_scores.map_or(0, |scores| asked.decoder_prompt.len().saturating_sub(scores.from));
        asked.max_tokens == 0 && scored == 0
    }

    pub fn answer(&self, id: RequestId) -> &Answer {
        &self.clients[&id].answers[0]
    }

    pub fn answers(&self, id: RequestId) -> &[Answer] {
        &self.clients[&id].answers
    }

    fn deliver_to_reader(&mut self, event: &Event, step: &StepResult) {
        let reader = self.readers.get_mut(&event.request()).unwrap();
        assert!(!reader.cancelled && reader.result.is_none(), "an event follows the last: {event:?}");
        match *event {
            Event::Started { .. } => assert!(!std::mem::replace(&mut reader.started, true), "a request starts once"),
            Event::Encoded { result, .. } if reader.started => reader.result = Some(step.encoded[result as usize]),
            _ => panic!("not an event of an encoder request that has started: {event:?}"),
        }
    }

    fn deliver(&mut self, event: &Event, result: &StepResult) {
        if self.readers.contains_key(&event.request()) {
            return self.deliver_to_reader(event, result);
        }
        let client = self.clients.get_mut(&event.request()).unwrap();
        if let Some(choice) = event.choice() {
            assert!(!client.cancelled[choice as usize], "an event follows its cancellation: {event:?}");
            assert!(client.answers[choice as usize].finish.is_none(), "an event follows the last: {event:?}");
            assert!(client.started.is_some(), "an event comes before the start: {event:?}");
        }
        match *event {
            Event::Started { request, cached_tokens } => {
                assert_eq!(client.started.replace(cached_tokens), None, "a request starts once");
                self.started.push(request);
            }
            Event::Scored { choice, token, score, .. } => {
                assert_eq!(Some(score.top), client.asked.prompt_scores.map(|scores| scores.top));
                client.answers[choice as usize].scores.push((token, result.digests[score.logits_row as usize]));
            }
            Event::Token { choice, token, ref score, .. } => {
                let answer = &mut client.answers[choice as usize];
                assert_eq!(score.is_some(), client.asked.log_probs.is_some());
                answer.scores.extend(score.iter().map(|score| match score {
                    TokenScoreAt::Logits(at) => (token, result.digests[at.logits_row as usize]),
                    TokenScoreAt::Held(held) => (token, digest_in(held)),
                }));
                answer.tokens.push(token);
            }
            Event::Drafted { drafted, accepted, .. } => {
                assert!(client.asked.may_draft() && 0 < drafted && accepted <= drafted);
            }
            Event::Kept { token, score, ref held, .. } => {
                assert_eq!(Some(score.top), client.asked.log_probs);
                hold_digest(held, token, result.digests[score.logits_row as usize]);
            }
            Event::Rated { choice, rating, .. } => {
                let before = client.answers[choice as usize].rating.replace(rating);
                assert!(before.is_none(), "a choice is rated once");
            }
            Event::Finished { choice, reason, .. } => client.answers[choice as usize].finish = Some(reason),
            Event::Encoded { .. } => panic!("a generation has no encoder result"),
            // From here on the client receives nothing, as if it had cancelled.
            Event::Failed { ref cause, .. } => {
                client.failure = Some(cause.clone());
                client.cancelled.fill(true);
            }
        }
    }

    fn check_limits(&self, plan: &Plan) {
        assert!(plan.targets.len() <= self.limits.step_rows);
        assert!(self.scheduler.running_rows() <= self.limits.running_rows);
        let Some(encode) = plan.encode() else { return };
        let budget = self.limits.step_encoder_tokens;
        let tokens = encode.tokens.len();
        assert!(tokens <= budget || encode.segments.len() == 1, "a batch of several keeps to the budget");
        assert_eq!(encode.lane == Lane::Long, tokens > budget, "a source that is longer has its lane");
        let cost = encode.layers.len() * tokens;
        assert!(cost <= budget * self.limits.encoder_layers || encode.layers.len() == 1);
    }

    fn check_books(&self) {
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
