//! A machine with its scheduler, clients and faults, for as many steps as it is let live.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::AddAssign;

use simulation::request::RequestId;
use simulation::scheduler::{BoundaryTokens, Event, Found as Results, Plan, PoolSize, Scheduler, SchedulerLimits};

use model::{EncoderCost, PagePieces};

use super::clients::{Client, Clients};
use super::device::{Device, END, Found, START, VOCABULARY};
use super::dice::Dice;
use super::load::{Asked, Load};
use super::threads::Threads;
use super::witness::Witness;

/// Sequences in the queue beyond which a client is turned away.
const QUEUE: usize = 60;
/// Steps between two checks of all pages.
const CHECK: u64 = 64;
/// Virtual microseconds of a step, of each row, and of each source token through a layer.
const COSTS: [u64; 3] = [3800, 500, 3];

/// Counted over all worlds.
#[derive(Debug, Default)]
pub struct Tally {
    worlds: u64,
    steps: u64,
    hours: f64,
    ahead: u64,
    asked: u64,
    answered: u64,
    turned_away: u64,
    went_away: u64,
    failed_alone: u64,
    failed_steps: u64,
    out_of_form: u64,
    late_masks: u64,
    tokens: u64,
    drafted_and_right: u64,
    preemptions: u64,
    cache_hits: u64,
    turns_watched: u64,
}

/// Somebody goes away: when, whose request, and one choice only or all.
type Departure = Reverse<(u64, RequestId, bool)>;

/// A machine.
#[derive(Debug)]
pub struct World {
    dice: Dice,
    clock: u64,
    limits: SchedulerLimits,
    scheduler: Scheduler,
    device: Device,
    plan: Plan,
    /// Whether plans are made ahead, as on a GPU.
    runs_ahead: bool,
    next: Plan,
    next_found: Option<Found>,
    load: Load,
    threads: Threads,
    clients: Clients,
    departures: BinaryHeap<Departure>,
    witness: Witness,
    ids: u64,
    tally: Tally,
    events: Vec<Event>,
}

/// Pages of one piece, or of several that are given back behind a window.
fn pieces(dice: &mut Dice) -> PagePieces {
    if dice.once_in(3) {
        return PagePieces::ONE;
    }
    let all = dice.between(2, 6);
    PagePieces { all, windowed: dice.between(1, all - 1), window: dice.between(1, 40) }
}

impl World {
    /// A world, whose limits follow from the dice.
    pub fn new(mut dice: Dice) -> Self {
        let running_rows = dice.between(1, 9);
        let limits = SchedulerLimits {
            pool: PoolSize {
                pages: dice.between(12, 48),
                source_page_tokens: [8, 16, 32][dice.below(3) as usize],
                pieces: pieces(&mut dice),
            },
            running_rows,
            call_rows: running_rows.div_ceil(2),
            step_rows: running_rows + dice.between(0, 20),
            step_encoder_tokens: dice.between(16, 100),
            draft_rows: if dice.once_in(3) { 0 } else { dice.between(2, 24) },
            encoder: EncoderCost::undivided(dice.between(1, 5)),
        };
        // A request has about 25 rows; steps are half full where the pool is small.
        let row = (COSTS[0] / running_rows as u64 + COSTS[1]) as f64;
        let load = Load::new(dice.apart(0), 50.0 * row, running_rows);
        let tokens = BoundaryTokens { start: START, end: vec![END], vocabulary: VOCABULARY };
        Self {
            clock: 0,
            limits,
            scheduler: Scheduler::new(limits, tokens),
            device: Device::new(limits.pool),
            plan: Plan::default(),
            runs_ahead: dice.once_in(3),
            next: Plan::default(),
            next_found: None,
            load,
            threads: Threads::new(dice.apart(1)),
            clients: Clients::default(),
            departures: BinaryHeap::new(),
            witness: Witness::default(),
            ids: 0,
            tally: Tally { worlds: 1, ..Tally::default() },
            events: Vec::new(),
            dice,
        }
    }

    /// Lives so many steps, then until everybody has an answer.
    pub fn live(mut self, steps: u64) -> Tally {
        while self.tally.steps < steps {
            if self.scheduler.is_idle() {
                self.clock = self.clock.max(self.load.next);
            }
            while self.load.next <= self.clock {
                self.arrive();
            }
            self.step();
        }
        // Nobody comes any more. Whoever waits is at most so many requests behind others.
        let bound = self.tally.steps + 200 * self.clients.len() as u64 + 1000;
        while !self.scheduler.is_idle() {
            self.step();
            assert!(self.tally.steps < bound, "{} requests have no answer", self.clients.len());
        }
        assert_eq!(self.clients.len(), 0, "requests were forgotten");
        assert_eq!(self.scheduler.counts().held, 0, "pages were lost");
        self.finish()
    }

    fn finish(self) -> Tally {
        self.check_pages();
        let (counters, ends) = (self.scheduler.counters(), &self.clients.ends);
        Tally {
            hours: self.clock as f64 / 3.6e9,
            answered: ends.answered,
            failed_alone: ends.failed_alone,
            out_of_form: ends.out_of_form,
            late_masks: self.threads.late,
            tokens: ends.tokens,
            drafted_and_right: counters.accepted,
            preemptions: counters.preemptions,
            cache_hits: counters.cache_hits,
            turns_watched: self.witness.watched,
            ..self.tally
        }
    }

    fn arrive(&mut self) {
        let now = self.load.next;
        let visit = self.load.visit();
        for (index, asked) in visit.asked.into_iter().enumerate() {
            self.tally.asked += 1;
            if self.scheduler.waiting() + self.scheduler.waiting_encodings() >= QUEUE {
                self.tally.turned_away += 1;
                continue;
            }
            self.ids += 1;
            let (id, caller) = (RequestId(self.ids), &visit.caller);
            let client = match asked {
                Asked::Generation(asked, form) => {
                    let client = Client::generation(caller.call, caller.priority, asked.clone(), form);
                    if self.scheduler.submit(id, caller, asked).is_err() {
                        self.tally.turned_away += 1;
                        continue;
                    }
                    if index == 0 {
                        self.witness.come(id, caller.priority);
                    }
                    client
                }
                Asked::Encoding(asked) => {
                    self.scheduler.submit_encoding(id, caller, asked);
                    Client::encoding(caller.call, caller.priority)
                }
            };
            self.clients.insert(id, client);
            if let Some(patience) = visit.patience {
                self.departures.push(Reverse((now + patience, id, self.dice.once_in(2))));
            }
        }
    }

    /// Lets those go away whose time has come.
    fn depart(&mut self) {
        while let Some(&Reverse((time, id, one_only))) = self.departures.peek()
            && time <= self.clock
        {
            self.departures.pop();
            let choice = if one_only { self.clients.spare_choice(id) } else { None };
            if self.clients.leave(id, choice) {
                self.scheduler.cancel(id, choice);
                self.tally.went_away += 1;
            }
            // The choice that was given up may have had its turn.
            self.witness.leave(id);
        }
    }

    fn step(&mut self) {
        self.depart();
        let found = match self.next_found.take() {
            Some(found) => {
                std::mem::swap(&mut self.plan, &mut self.next);
                found
            }
            None => {
                self.scheduler.plan(&mut self.plan);
                self.check_plan(&self.plan);
                let late = self.threads.settle(&mut self.scheduler, &mut self.plan, self.clock);
                Found { late, ..self.device.run(&self.plan, &[]) }
            }
        };
        self.clock += cost(&self.plan);
        if let Some(next) = self.threads.next().filter(|_| self.plan.is_empty()) {
            self.clock = self.clock.max(next);
        }
        self.tally.steps += 1;
        if self.runs_ahead && self.scheduler.plan_ahead(&mut self.next) {
            self.check_plan(&self.next);
            self.tally.ahead += 1;
            let late = self.threads.settle(&mut self.scheduler, &mut self.next, self.clock);
            self.next_found = Some(Found { late, ..self.device.run(&self.next, &found.chosen) });
        }
        // Some go away while a step runs.
        self.depart();
        let failed_before = self.tally.failed_steps;
        if self.dice.once_in(3000) {
            self.fail_step();
        } else {
            self.commit(&found);
        }
        self.see();
        if self.tally.steps.is_multiple_of(CHECK) || self.tally.failed_steps > failed_before {
            self.check_pages();
        }
    }

    /// Begins moves in constraints, and tells what was seen of those that are done.
    fn see(&mut self) {
        self.events.clear();
        self.threads.take(&mut self.scheduler, self.clock);
        self.threads.work(&mut self.scheduler, self.clock, &mut self.events);
        self.tell();
    }

    fn commit(&mut self, found: &Found) {
        self.events.clear();
        let found = Results { chosen: &found.chosen, best: &found.best, plan: &self.plan, late: &found.late };
        self.scheduler.commit(found, &mut self.events);
        self.tell();
    }

    fn tell(&mut self) {
        let mut failed = Vec::new();
        for event in &self.events {
            let id = event.request();
            // Events of other choices may follow a failure.
            if failed.contains(&id) {
                continue;
            }
            if let (Event::Started { .. }, Some(client)) = (event, self.clients.get(id))
                && client.takes_rows()
            {
                self.witness.start(id, client.call, client.priority);
            }
            if matches!(event, Event::Failed { .. }) {
                failed.push(id);
                self.witness.leave(id);
            }
            self.clients.tell(event);
        }
    }

    /// The device fails: whoever has work in the step is told so, and nobody else.
    fn fail_step(&mut self) {
        let mut failed = Vec::new();
        self.scheduler.fail_step(&mut failed);
        self.next_found = None;
        self.tally.failed_steps += 1;
        for id in failed {
            self.clients.leave(id, None);
            self.witness.leave(id);
        }
    }

    fn check_plan(&self, plan: &Plan) {
        let has_to_wait = self.clients.len() == 0 || self.scheduler.awaits_places();
        assert!(!plan.is_empty() || has_to_wait, "a step does nothing while somebody waits");
        assert!(
            plan.targets.len() <= self.limits.step_rows && self.scheduler.running_rows() <= self.limits.running_rows
        );
    }

    fn check_pages(&self) {
        self.scheduler.check_conservation().expect("every page has as many references as owners");
        let counts = self.scheduler.counts();
        assert_eq!(counts.free + counts.held + counts.cached, self.limits.pool.pages);
    }
}

fn cost(plan: &Plan) -> u64 {
    let encoded = plan.encode().map_or(0, |step| step.parts.len() * step.tokens.len());
    COSTS[0] + COSTS[1] * plan.targets.len() as u64 + COSTS[2] * encoded as u64
}

impl Tally {
    /// Asserts that everybody who asked is accounted for, and that all happened that is to be simulated.
    pub fn check(&self) {
        let Self { answered, turned_away, failed_alone, .. } = *self;
        assert!(answered + turned_away + failed_alone <= self.asked);
        if self.steps >= 1_000_000 {
            let Self { went_away, failed_steps, drafted_and_right, preemptions, cache_hits, .. } = *self;
            let happened = [answered, turned_away, failed_alone, went_away, failed_steps, drafted_and_right];
            let rest = [preemptions, cache_hits, self.ahead, self.turns_watched, self.out_of_form, self.late_masks];
            assert!(happened.iter().chain(&rest).all(|count| *count > 0), "{self:#?}");
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.steps += other.steps;
        self.hours += other.hours;
        self.ahead += other.ahead;
        self.asked += other.asked;
        self.answered += other.answered;
        self.turned_away += other.turned_away;
        self.went_away += other.went_away;
        self.failed_alone += other.failed_alone;
        self.failed_steps += other.failed_steps;
        self.out_of_form += other.out_of_form;
        self.late_masks += other.late_masks;
        self.tokens += other.tokens;
        self.drafted_and_right += other.drafted_and_right;
        self.preemptions += other.preemptions;
        self.cache_hits += other.cache_hits;
        self.turns_watched += other.turns_watched;
    }
}
