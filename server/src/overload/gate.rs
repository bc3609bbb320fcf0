//! The gate before a model's queue: decides of each call whether it enters or is shed.

use std::sync::Arc;
use std::time::Duration;

use super::new_call::NewCall;
use super::pace::{Pace, StepTaken};
use super::recall::Recall;
use super::running_rows::{RowsTaken, RunningRows};
use super::waiting::{Waiting, WaitingCall};
use super::work::Work;
use crate::request::{CallId, Party, Priority, Shed, ShedReason};

/// Time without a refusal after which overload is over. Refused calls with as much work make it no burst.
const CALM: Duration = Duration::from_secs(1);
/// Steps that the queue may always last in overload: rows that the present step frees are taken by the next one.
const LEAST_STEPS: u32 = 1;
/// Sequences that begin in a step in overload, as a multiple of those that end in one. Rows that are freed together are
/// not taken together, or they would be freed together for ever, and who comes in between would wait for all of them.
const STARTS: f64 = 1.25;
/// Nobody is told to come back later than that: it is a guess, and others may leave.
const LATEST: Duration = Duration::from_secs(30);

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Sequences of each priority that may wait.
    pub queued_rows: u32,
    /// How long a newcomer may be expected to wait.
    pub wait: WaitLimits,
}

/// How long a newcomer may be expected to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitLimits {
    /// In ordinary times.
    pub usual: Duration,
    /// In overload, in percent of the time that answers take once they have begun.
    pub overload_percent: u32,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self { usual: Duration::from_secs(5), overload_percent: 20 }
    }
}

/// A call that has its places.
#[derive(Debug, Clone)]
pub struct Entered {
    /// Tells the call if it is shed after all.
    pub recall: Arc<Recall>,
    /// The least time that its answer takes, as far as the pace is known.
    pub least_time: Duration,
}

/// Figures of the gate, for metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Expected wait of a call like those that wait, in seconds; 0 while the pace is not known.
    pub expected_wait_s: f64,
    /// Units of work in a second of full steps; 0 while it is not known.
    pub units_per_s: f64,
    /// Whether only as many sequences wait as are about to begin.
    pub is_overloaded: bool,
    /// Calls that were shed, in the order of [`ShedReason::NAMES`].
    pub shed: [u64; ShedReason::NAMES.len()],
}

/// A stretch of time in which calls are refused because there is too much to do.
#[derive(Debug, Clone, Copy)]
struct Overload {
    /// Its last refusal.
    last: Duration,
    /// Units of the sequences that were refused, one for each call.
    refused: u64,
    /// Whether the calls that would wait for long have left the queue.
    is_short: bool,
}

/// Calls that were told to come back and are not due yet.
#[derive(Debug, Clone, Copy, Default)]
struct Returning {
    units: f64,
    /// When they were so many.
    at: Duration,
}

/// The gate of one engine.
#[derive(Debug)]
pub struct Gate {
    limits: GateLimits,
    waiting: Waiting,
    running: RunningRows,
    pace: Pace,
    overload: Option<Overload>,
    /// Rows that may begin in a step in overload, and those that may in the next one.
    starts: Option<f64>,
    starts_left: f64,
    returning: Returning,
    shed: [u64; ShedReason::NAMES.len()],
}

impl Gate {
    /// A gate before an empty queue.
    pub fn new(limits: GateLimits) -> Self {
        Self {
            limits,
            waiting: Waiting::default(),
            running: RunningRows::default(),
            pace: Pace::default(),
            overload: None,
            starts: None,
            starts_left: 0.0,
            returning: Returning::default(),
            shed: [0; ShedReason::NAMES.len()],
        }
    }

    /// Gives a call all its places, or none. Calls of clients with more work in a full queue make room for it. `now` is
    /// any time that grows.
    ///
    /// # Errors
    /// When there is no room, it would wait for too long, or it cannot be answered by its deadline.
    pub fn enter(&mut self, call: NewCall, now: Duration) -> Result<Entered, Shed> {
        let NewCall { caller, rows, work, least, is_patient, time_left } = call;
        let row_units = work.part_of(rows.into()).units(self.pace.share());
        let asked = Asked {
            party: &caller.party,
            priority: caller.priority,
            rows,
            row_units,
            has_target: work.target_tokens > 0,
            hurries: time_left.is_some_and(|left| left < self.answer_time()),
        };
        let least_time = self.time_of(least);
        let time = Time { now, least: least_time, left: time_left };
        let judged = if is_patient { Ok(()) } else { self.judge(&asked, time) };
        if let Err(reason) = judged.and_then(|()| self.make_room(&asked, now)) {
            return Err(self.refuse(reason, &asked, now));
        }
        let recall = Arc::<Recall>::default();
        let Asked { priority, .. } = asked;
        let entered = Entered { recall: Arc::clone(&recall), least_time };
        self.waiting.insert(
            caller.call,
            WaitingCall { party: caller.party, priority, rows, row_units, stays: is_patient, recall },
        );
        Ok(entered)
    }

    /// Whether some call could enter, for callers with costly work to do before.
    ///
    /// # Errors
    /// What `enter` would return to a call of a client that has nothing waiting.
    pub fn look(&mut self, now: Duration) -> Result<(), Shed> {
        let newcomer = self.newcomer();
        let full = ShedReason::Full { queued_rows: self.limits.queued_rows };
        let judged = match self.free(newcomer.priority) {
            0 => Err(full),
            _ => self.judge(&newcomer, Time { now, least: Duration::ZERO, left: None }),
        };
        judged.map_err(|reason| self.refuse(reason, &newcomer, now))
    }

    /// Sequences of a call have begun, or never will.
    pub fn leave(&mut self, call: CallId, rows: u32) {
        self.waiting.leave(call, rows);
    }

    /// The work of each sequence of a call is known now.
    pub fn settle(&mut self, call: CallId, work: Work) {
        self.waiting.settle(call, work.units(self.pace.share()));
    }

    /// Rows that sequences may begin with in the step that is to be planned; any number when absent.
    pub fn starts(&mut self, now: Duration) -> Option<usize> {
        let tokens = self.pace.mean_tokens();
        let is_even = self.is_overloaded(now) && tokens > 0.0;
        self.starts = is_even.then(|| STARTS * self.running.rows() as f64 / tokens).filter(|starts| *starts > 0.0);
        let starts = self.starts?;
        // What a step leaves over, the next one may use.
        self.starts_left = (self.starts_left + starts).min(2.0 * starts.max(1.0));
        let now = self.starts_left.floor();
        self.starts_left -= now;
        Some(now as usize)
    }

    /// A step was run.
    pub fn step(&mut self, step: &StepTaken) {
        self.pace.step(step);
    }

    /// Rows as they are after a step, and after sequences that ended between steps. `left` are the most tokens that
    /// each row of an interactive sequence may still get.
    pub fn rows(&mut self, taken: RowsTaken, left: impl Iterator<Item = u32>) {
        self.running.update(taken, left);
    }

    /// A choice ended with so many tokens of those that it was asked for.
    pub fn finished(&mut self, asked: u32, generated: u32) {
        self.pace.finished(asked, generated);
    }

    /// Places of a priority that nobody has.
    pub const fn free(&self, priority: Priority) -> u32 {
        self.limits.queued_rows.saturating_sub(self.waiting.rows(priority))
    }

    /// The gate's figures.
    pub fn figures(&self, now: Duration) -> Figures {
        Figures {
            expected_wait_s: self.expected_wait(&self.newcomer()).unwrap_or_default().as_secs_f64(),
            units_per_s: self.pace.units_per_s().unwrap_or_default(),
            is_overloaded: self.is_overloaded(now),
            shed: self.shed,
        }
    }

    /// A call of a client that has nothing waiting, like those that wait.
    fn newcomer(&self) -> Asked<'static> {
        static NOBODY: Party = Party::UNKNOWN;
        let priority = Priority::Interactive;
        let row_units = self.waiting.mean_row_units(priority, 1) as u64;
        Asked { party: &NOBODY, priority, rows: 1, row_units, has_target: true, hurries: false }
    }

    fn judge(&self, asked: &Asked<'_>, time: Time) -> Result<(), ShedReason> {
        let Some(expected) = self.expected_wait(asked) else { return Ok(()) };
        let needed = expected + time.least;
        if time.left.is_some_and(|left| needed > left) {
            return Err(ShedReason::Deadline { needed });
        }
        let bound = if self.is_overloaded(time.now) { self.short_wait_of(asked) } else { self.long_wait() };
        // Idle calls run on what is left; how long they wait nobody knows.
        let is_bounded = asked.priority == Priority::Interactive;
        if is_bounded && expected > bound { Err(ShedReason::LongWait { expected }) } else { Ok(()) }
    }

    /// Recalls calls of clients with more work until a call has its places.
    fn make_room(&mut self, asked: &Asked<'_>, now: Duration) -> Result<(), ShedReason> {
        let full = ShedReason::Full { queued_rows: self.limits.queued_rows };
        if asked.rows > self.limits.queued_rows {
            return Err(full);
        }
        while self.free(asked.priority) < asked.rows {
            let own = self.waiting.units_of(asked.party, asked.priority) + asked.units();
            let youngest = self.waiting.youngest_of_heaviest(asked.priority, own).ok_or(full)?;
            self.recall(youngest, now);
        }
        Ok(())
    }

    /// Counts a refusal. After many, calls that do not begin soon leave the queue.
    fn refuse(&mut self, reason: ShedReason, asked: &Asked<'_>, now: Duration) -> Shed {
        let shed = Shed { reason, retry_after: self.retry_after(asked.units(), now) };
        self.count(reason);
        let is_overload = match reason {
            // A call that is too large for the places that are left says nothing about others.
            ShedReason::Full { .. } => self.free(Priority::Interactive) == 0,
            ShedReason::LongWait { .. } => true,
            // Neither does one that wants its answer sooner than answers come, or that waits for all others.
            ShedReason::Deadline { .. } => {
                let is_usual = asked.priority == Priority::Interactive && !asked.hurries;
                is_usual && self.expected_wait(asked) > Some(self.short_wait())
            }
            ShedReason::Recalled | ShedReason::Quota { .. } => false,
        };
        if is_overload {
            let fresh = Overload { last: now, refused: 0, is_short: false };
            let mut overload = self.overload.filter(|_| self.is_overloaded(now)).unwrap_or(fresh);
            overload.last = now;
            overload.refused += asked.row_units;
            let burst = self.pace.units_per_s().unwrap_or(f64::INFINITY) * CALM.as_secs_f64();
            if !overload.is_short && overload.refused as f64 >= burst {
                overload.is_short = true;
                self.shorten(now);
            }
            self.overload = Some(overload);
        }
        shed
    }

    /// Recalls calls until those that are left begin soon, the youngest of the client with the most work first.
    fn shorten(&mut self, now: Duration) {
        let Some(step) = self.pace.step_time().filter(|_| self.running.is_known()) else { return };
        let steps = self.short_wait().as_secs_f64() / step.as_secs_f64();
        let soon = self.running.free_within(steps, self.pace.share()) as u32;
        while self.waiting.rows(Priority::Interactive) > soon {
            let Some(youngest) = self.waiting.youngest_of_heaviest(Priority::Interactive, 0) else { return };
            self.recall(youngest, now);
        }
    }

    fn recall(&mut self, id: CallId, now: Duration) {
        let Some(call) = self.waiting.take(id) else { return };
        let units = u64::from(call.rows) * call.row_units;
        let shed = Shed { reason: ShedReason::Recalled, retry_after: self.retry_after(units, now) };
        self.count(shed.reason);
        call.recall.tell(shed);
    }

    const fn count(&mut self, reason: ShedReason) {
        if let Some(index) = reason.index() {
            self.shed[index] += 1;
        }
    }

    /// Time after which a call of so many units, refused now, may be taken: what waits and what was told to come back
    /// before it is done by then, at the measured pace.
    fn retry_after(&mut self, units: u64, now: Duration) -> Duration {
        let Some(pace) = self.pace.units_per_s() else { return Shed::RETRY };
        let Returning { units: returning, at } = self.returning;
        let due = now.saturating_sub(at).as_secs_f64() * pace;
        let returning = (returning - due).max(0.0) + units as f64;
        self.returning = Returning { units: returning.min(LATEST.as_secs_f64() * pace), at: now };
        let before = self.returning.units + self.waiting.units(Priority::Interactive) as f64;
        Duration::from_secs_f64(before / pace).clamp(Shed::RETRY, LATEST)
    }

    fn is_overloaded(&self, now: Duration) -> bool {
        // Where steps are long, calls are refused less often.
        let calm = CALM.max(self.pace.step_time().unwrap_or_default() * 4);
        self.overload.is_some_and(|overload| now.saturating_sub(overload.last) < calm)
    }

    /// Longest wait of a call in overload. A client with nothing else in the queue may wait twice as long, so that
    /// chance does not turn away those who ask for less than their share.
    fn short_wait_of(&self, asked: &Asked<'_>) -> Duration {
        let has_others = self.waiting.units_of(asked.party, asked.priority) > 0;
        self.short_wait() * if has_others { 1 } else { 2 }
    }

    /// Time that an answer takes once it has begun; before one has ended, the most that those that run may take.
    fn answer_time(&self) -> Duration {
        let mean = self.pace.mean_tokens();
        let tokens = if mean > 0.0 { mean } else { f64::from(self.running.most_left()) };
        self.pace.step_time().unwrap_or_default().mul_f64(tokens)
    }

    /// Longest wait in ordinary times: where answers take long, people wait for them as well. As many clients as twice
    /// the rows, each with one request after the other, wait for one answer.
    fn long_wait(&self) -> Duration {
        self.limits.wait.usual + self.answer_time()
    }

    /// Longest wait in overload.
    fn short_wait(&self) -> Duration {
        let step = self.pace.step_time().unwrap_or_default();
        let part = self.answer_time().mul_f64(f64::from(self.limits.wait.overload_percent) / 100.0);
        part.max(step * LEAST_STEPS).min(self.limits.wait.usual)
    }

    /// Time until the first sequence of a call runs, if the pace is known.
    fn expected_wait(&self, asked: &Asked<'_>) -> Option<Duration> {
        let (step, pace) = (self.pace.step_time()?, self.pace.units_per_s()?);
        let Asked { party, priority, row_units, has_target, .. } = *asked;
        let ahead = self.waiting.units_ahead(party, priority, row_units) as f64;
        let rows = (ahead / self.waiting.mean_row_units(priority, row_units)) as usize;
        let free = self.running.steps_until_free(rows, self.pace.share()).filter(|_| has_target);
        let steps = free.map(|steps| self.starts.map_or(steps, |starts| steps.max(rows as f64 / starts)));
        Some(steps.map_or_else(|| Duration::from_secs_f64(ahead / pace), |steps| step.mul_f64(steps)))
    }

    fn time_of(&self, work: Work) -> Duration {
        let (Some(step), Some(pace)) = (self.pace.step_time(), self.pace.units_per_s()) else { return Duration::ZERO };
        step.mul_f64(work.target_tokens as f64) + Duration::from_secs_f64(work.source_tokens as f64 / pace)
    }
}

/// Times of a call.
#[derive(Clone, Copy)]
struct Time {
    /// The present.
    now: Duration,
    /// The least time that the answer takes once it has begun.
    least: Duration,
    /// Until its deadline.
    left: Option<Duration>,
}

/// A call, as far as it decides whether it enters.
struct Asked<'a> {
    party: &'a Party,
    priority: Priority,
    rows: u32,
    row_units: u64,
    /// Whether it needs rows, and not the encoder alone.
    has_target: bool,
    /// Whether its deadline is sooner than answers usually come.
    hurries: bool,
}

impl Asked<'_> {
    const fn units(&self) -> u64 {
        self.row_units * self.rows as u64
    }
}
