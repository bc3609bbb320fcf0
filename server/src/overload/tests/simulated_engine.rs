//! An engine in virtual time behind a gate: steps of known cost, turns as in the scheduler, clients that never stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fair_turns::{Costs, FairTurns};
use crate::overload::{Gate, GateLimits, NewCall, Recall, RowsTaken, StartLimits, StepTaken, WaitLimits, Work};
use crate::request::{CallId, Caller, Party, Shed};

/// Costs of steps.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Rows that run at once.
    pub rows: usize,
    /// Time of a step of its own, and for each row and each source token in it.
    pub step: Duration,
    pub row: Duration,
    pub source_token: Duration,
    /// The time of rows grows with this power of their number.
    pub power: f64,
    /// Most part of its time by which a step takes more or less.
    pub jitter: f64,
}

/// Requests of one client.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The client's name.
    pub client: &'static str,
    /// Requests a second, at random times.
    pub rate: f64,
    /// Tokens of each source.
    pub source: u64,
    /// Most tokens of each target.
    pub most: u32,
    /// Mean tokens of each target; those of single ones differ, unless it is `most`.
    pub mean: u32,
    /// The time within which each wants its answer.
    pub timeout: Option<Duration>,
}

/// A client's requests and their ends.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// Times from arrival to the end of the answer.
    pub answered: Vec<Duration>,
    /// Reasons for which the others were shed, at arrival or later.
    pub shed: Vec<Shed>,
    /// Requests that arrived.
    pub arrived: usize,
}

impl Fate {
    /// The time within which 99 of 100 were answered.
    pub fn p99(&self) -> Duration {
        let mut sorted = self.answered.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * 99 / 100]
    }
}

#[derive(Debug)]
struct Job {
    call: CallId,
    client: &'static str,
    arrived: Duration,
    source: u64,
    most: u32,
    /// Tokens that it will have.
    tokens: u32,
    generated: u32,
}

impl Costs for Job {
    fn cost(&self) -> u64 {
        Work { source_tokens: self.source, target_tokens: self.most.into() }.units(1.0)
    }
}

/// The engine and its clients.
pub struct SimulatedEngine {
    /// The gate.
    pub gate: Gate,
    /// Requests of each client and their ends.
    pub fates: BTreeMap<&'static str, Fate>,
    /// The present.
    pub now: Duration,
    /// Requests that arrived from then on count.
    pub start: Duration,
    /// Most calls that ever waited.
    pub longest_queue: usize,
    machine: Machine,
    /// Requests enter whatever the gate says of their wait.
    is_patient: bool,
    /// Times at which clients that ask one request after the other may ask again, of those whose requests ended.
    free: Vec<Duration>,
    turns: FairTurns<Job>,
    /// Calls that wait, and who made them.
    waiting: BTreeMap<CallId, (&'static str, Arc<Recall>)>,
    running: Vec<Job>,
    random: u64,
    calls: u64,
    first_counted: CallId,
}

impl SimulatedEngine {
    /// An idle engine, after its self-test.
    pub fn new(machine: Machine, seed: u64) -> Self {
        let limits = GateLimits { queued_rows: 1024, wait: WaitLimits::default(), draft_rows: 0 };
        let mut engine = Self {
            gate: Gate::new(limits),
            fates: BTreeMap::new(),
            now: Duration::ZERO,
            start: Duration::ZERO,
            longest_queue: 0,
            machine,
            is_patient: false,
            free: Vec::new(),
            turns: FairTurns::default(),
            waiting: BTreeMap::new(),
            running: Vec::new(),
            random: seed,
            calls: 0,
            first_counted: CallId(0),
        };
        engine.burst(Load { client: "self-test", rate: 0.0, source: 1, most: 1, mean: 1, timeout: None }, 1);
        engine.finish();
        engine.begin_to_count();
        engine
    }

    /// Runs under these loads for so long; what is unfinished then goes on later.
    pub fn run(&mut self, loads: &[Load], time: Duration) {
        let end = self.now + time;
        self.free.clear();
        let mut next: Vec<Duration> = loads.iter().map(|load| self.now + self.gap(load.rate)).collect();
        while self.now < end {
            for (load, next) in loads.iter().zip(&mut next) {
                while *next <= self.now {
                    self.arrive(load, *next);
                    *next += self.gap(load.rate);
                }
            }
            self.step();
            if self.running.is_empty() && self.turns.is_empty() {
                self.now = next.iter().copied().min().unwrap_or(end).max(self.now);
            }
        }
    }

    /// Runs so many clients for so long, each of which asks its next request when the one before it is answered, or
    /// as long after a refusal as it is told.
    pub fn run_clients(&mut self, load: &Load, clients: usize, time: Duration) {
        let end = self.now + time;
        self.free = vec![self.now; clients];
        while self.now < end {
            let (due, later) = std::mem::take(&mut self.free).into_iter().partition(|time| *time <= self.now);
            self.free = later;
            Vec::into_iter(due).for_each(|time| self.arrive(load, time));
            self.step();
            if self.running.is_empty() && self.turns.is_empty() {
                self.now = self.free.iter().copied().min().unwrap_or(end).max(self.now);
            }
        }
    }

    /// Requests a second that are answered if the queue is never empty.
    pub fn capacity(machine: Machine, load: Load) -> f64 {
        let mut engine = Self { is_patient: true, ..Self::new(machine, 1) };
        while engine.now < Duration::from_secs(60) {
            while engine.turns.len() < 2 * machine.rows {
                engine.arrive(&load, engine.now);
            }
            engine.step();
        }
        engine.goodput(load.client)
    }

    /// Forgets what became of requests so far, those on their way included.
    pub fn begin_to_count(&mut self) {
        (self.start, self.first_counted) = (self.now, CallId(self.calls + 1));
        self.fates.clear();
    }

    /// So many requests arrive at once.
    pub fn burst(&mut self, load: Load, requests: usize) {
        (0..requests).for_each(|_| self.arrive(&load, self.now));
    }

    /// Runs until nothing is left to do.
    pub fn finish(&mut self) {
        while !(self.running.is_empty() && self.turns.is_empty()) {
            self.step();
        }
    }

    /// Requests of a client that were answered in a second, on average.
    pub fn goodput(&self, client: &str) -> f64 {
        self.fates[client].answered.len() as f64 / (self.now - self.start).as_secs_f64()
    }

    fn arrive(&mut self, load: &Load, arrived: Duration) {
        self.calls += 1;
        let call = CallId(self.calls);
        let spread = if load.mean == load.most { 1.0 } else { -(1.0 - self.random()).ln() };
        let tokens = ((f64::from(load.mean) * spread) as u32).clamp(1, load.most);
        let caller = Caller { call, party: Party::of(load.client.as_bytes()), ..Caller::default() };
        let asked = NewCall {
            caller: caller.clone(),
            rows: 1,
            work: Work { source_tokens: load.source, target_tokens: load.most.into() },
            least: Work { source_tokens: load.source, target_tokens: load.most.into() },
            // It is looked at when the step is over.
            time_left: load.timeout.map(|timeout| timeout.saturating_sub(self.now - arrived)),
            is_patient: self.is_patient,
        };
        let fate = self.fates.entry(load.client).or_default();
        fate.arrived += 1;
        match self.gate.enter(asked, self.now) {
            Ok(entered) => {
                self.waiting.insert(call, (load.client, entered.recall));
                let Load { client, source, most, .. } = *load;
                let job = Job { call, client, arrived, source, most, tokens, generated: 0 };
                self.turns.push(&caller, [job]);
                if self.turns.len() > self.longest_queue {
                    self.drop_recalled();
                    self.longest_queue = self.longest_queue.max(self.turns.len());
                }
            }
            Err(shed) => {
                self.free.push(self.now + shed.retry_after);
                fate.shed.push(shed);
            }
        }
    }

    fn step(&mut self) {
        self.drop_recalled();
        let (mut begun, mut source_tokens) = (Vec::new(), 0);
        let StartLimits { begin, running } = self.gate.starts(self.now);
        while self.running.len() < running.min(self.machine.rows) && begun.len() < begin {
            let Some(job) = self.turns.next(|_, _| true) else { break };
            self.waiting.remove(&job.call);
            begun.push(job.call);
            source_tokens += job.source;
            self.running.push(job);
        }
        self.gate.begun(begun.len());
        let rows = self.running.len();
        if rows == 0 {
            return;
        }
        let Machine { step, row, source_token, power, jitter, .. } = self.machine;
        let time = step + row.mul_f64((rows as f64).powf(power)) + source_token * source_tokens as u32;
        let time = if jitter > 0.0 { time.mul_f64(1.0 + jitter * (2.0 * self.random() - 1.0)) } else { time };
        self.now += time;
        let (gate, fates, now, first) = (&mut self.gate, &mut self.fates, self.now, self.first_counted);
        let free = &mut self.free;
        self.running.retain_mut(|job| {
            job.generated += 1;
            let goes_on = job.generated < job.tokens;
            if !goes_on {
                gate.finished(job.most, job.generated);
                free.push(now);
                if job.call >= first {
                    fates.entry(job.client).or_default().answered.push(now - job.arrived);
                }
            }
            goes_on
        });
        let work = Work { source_tokens, target_tokens: rows as u64 };
        let step = StepTaken { time, work, rows, is_full: !self.turns.is_empty(), encodings_wait: false };
        let left = self.running.iter().map(|job| job.most - job.generated);
        gate.step(&step);
        gate.rows(RowsTaken { rows: self.machine.rows, is_blocked: Some(false) }, left);
        begun.into_iter().for_each(|call| gate.leave(call, 1));
    }

    /// Recalled calls leave the queue at once.
    fn drop_recalled(&mut self) {
        let Self { waiting, turns, fates, first_counted, free, now, .. } = self;
        waiting.retain(|call, (client, recall)| {
            let Some(shed) = recall.shed() else { return true };
            free.push(*now + shed.retry_after);
            turns.remove(call, |_| true);
            if call >= first_counted {
                fates.entry(client).or_default().shed.push(shed);
            }
            false
        });
    }

    /// A number from 0 to 1, by splitmix64.
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Time between two arrivals of a Poisson process.
    fn gap(&mut self, rate: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.random()).ln() / rate)
    }
}
