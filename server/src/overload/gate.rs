//! The gate before a model's queue: decides of each call whether it enters or is shed.

use std::sync::Arc;
use std::time::Duration;

use super::asked::{Asked, Times};
use super::even_starts::{EvenStarts, StartLimits};
use super::excess::Excess;
use super::new_call::NewCall;
use super::pace::{Pace, StepTaken};
use super::recall::Recall;
use super::returning::Returning;
use super::row_steps::RowSteps;
use super::running_rows::{RowsTaken, RunningRows};
use super::step_cost::StepCost;
use super::visitor::Visitor;
use super::waiting::{Room, Waiting, WaitingCall};
use super::work::Work;
use crate::request::{CallId, Party, Priority, Shed, ShedReason};

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Sequences of each priority that may wait.
    pub queued_rows: u32,
    /// How long a newcomer may be expected to wait.
    pub wait: WaitLimits,
    /// Decoder positions up to which steps are filled with drafted tokens.
    pub draft_rows: usize,
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
    /// Rows that may run at once in a flood; 0 while all may.
    pub row_limit: u64,
    /// Calls that were shed, in the order of [`ShedReason::NAMES`].
    pub shed: [u64; ShedReason::NAMES.len()],
}

/// The gate of one engine.
#[derive(Debug)]
pub struct Gate {
    pub(super) limits: GateLimits,
    pub(super) waiting: Waiting,
    pub(super) running: RunningRows,
    pub(super) pace: Pace,
    row_steps: RowSteps,
    /// The latest stretch of overload.
    pub(super) excess: Option<Excess>,
    pub(super) starts: EvenStarts,
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
            row_steps: RowSteps::default(),
            excess: None,
            starts: EvenStarts::default(),
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
        self.lift_limits(now);
        let NewCall { caller, rows, work, least, is_patient, time_left } = call;
        let (each, share) = (work.part_of(rows.into()), self.pace.share());
        let row_units = each.units(share);
        let asked = Asked {
            party: &caller.party,
            priority: caller.priority,
            rows,
            row_units,
            tokens: each.target_tokens as f64 * share,
            has_target: work.target_tokens > 0,
            hurries: time_left.is_some_and(|left| left < self.answer_time()),
        };
        let least_time = self.least_time(least, now);
        let times = Times { now, least: least_time, left: time_left };
        let judged = if is_patient { Ok(()) } else { self.judge(&asked, times) };
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

    /// Whether a call could enter whatever its body asks for, as far as that is usual. Counts nothing.
    pub fn may_enter(&mut self, visitor: &Visitor, now: Duration) -> bool {
        self.lift_limits(now);
        self.look(visitor, now).is_ok()
    }

    /// Refuses a call that could not enter, for callers with costly work to do before.
    ///
    /// # Errors
    /// What `enter` would return to it.
    pub fn check(&mut self, visitor: &Visitor, now: Duration) -> Result<(), Shed> {
        self.lift_limits(now);
        let Err(reason) = self.look(visitor, now) else { return Ok(()) };
        let asked = self.usual(&visitor.party, visitor.priority);
        Err(self.refuse(reason, &asked, now))
    }

    fn look(&self, visitor: &Visitor, now: Duration) -> Result<(), ShedReason> {
        let Visitor { party, priority, kind } = visitor;
        let asked = self.usual(party, *priority);
        self.room_for(&asked)?;
        let times = Times { now, least: Duration::ZERO, left: None };
        let judged = kind.may_have_target().iter().map(|&has_target| self.judge(&Asked { has_target, ..asked }, times));
        judged.reduce(Result::or).unwrap_or(Ok(()))
    }

    /// Sequences of a call have begun, or never will.
    pub fn leave(&mut self, call: CallId, rows: u32) {
        self.waiting.leave(call, rows);
    }

    /// The work of each sequence of a call is known now.
    pub fn settle(&mut self, call: CallId, work: Work) {
        self.waiting.settle(call, work.units(self.pace.share()));
    }

    /// Limits of the sequences that begin with the step that is to be planned.
    pub fn starts(&mut self, now: Duration) -> StartLimits {
        let rows = self.most_rows();
        if let Some(excess) = &mut self.excess {
            excess.settle(rows, now);
        }
        self.lift_limits(now);
        if self.is_overloaded(now) {
            self.limit_rows();
            self.starts.set(self.most_rows(), self.row_steps.mean());
        }
        let limits = self.starts.limits();
        // Where nothing runs, no step would let anything begin later.
        let least = usize::from(self.running.running() == 0);
        StartLimits { begin: limits.begin.max(least), ..limits }
    }

    /// Interactive sequences began with so many rows. Those that were preempted have begun before.
    pub fn begun(&mut self, rows: usize) {
        // Those that begin where nothing runs are owed to nobody.
        let most_early = if self.running.running() == 0 { 0 } else { self.most_rows() };
        self.starts.begun(rows, most_early);
        self.running.begin(rows);
    }

    /// A step was run.
    pub fn step(&mut self, step: &StepTaken) {
        self.pace.step(step);
        self.starts.step();
        let running = self.running.running();
        self.row_steps.step(running);
        // Where the encoder or pages are short, free rows could have done no more.
        let rows_are_free = step.rows > 0 && !step.encodings_wait && !self.running.is_blocked();
        let used = if rows_are_free { running } else { running.max(self.most_rows()) };
        if let Some(excess) = &mut self.excess {
            excess.step(used, step.time);
        }
    }

    /// Rows as they are after a step, and after sequences that ended between steps. `left` are the most tokens that
    /// each row of an interactive sequence may still get.
    pub fn rows(&mut self, taken: RowsTaken, left: impl Iterator<Item = u32>) {
        let before = self.running.running();
        self.running.update(taken, left);
        self.row_steps.left(before, self.running.running());
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
        let newcomer = self.usual(&Party::UNKNOWN, Priority::Interactive);
        Figures {
            expected_wait_s: self.expected_wait(&newcomer).unwrap_or_default().as_secs_f64(),
            units_per_s: self.pace.units_per_s().unwrap_or_default(),
            is_overloaded: self.is_overloaded(now),
            row_limit: self.starts.running.filter(|_| self.is_overloaded(now)).map_or(0, |rows| rows as u64),
            shed: self.shed,
        }
    }

    /// A call of one sequence like those that wait.
    fn usual<'a>(&self, party: &'a Party, priority: Priority) -> Asked<'a> {
        let row_units = self.waiting.mean_row_units(priority, 1) as u64;
        let tokens = self.pace.mean_tokens();
        Asked { party, priority, rows: 1, row_units, tokens, has_target: true, hurries: false }
    }

    /// The calls of clients with more work that a call needs the places of.
    fn room_for(&self, asked: &Asked<'_>) -> Result<Vec<CallId>, ShedReason> {
        let Asked { party, priority, rows, .. } = *asked;
        let full = ShedReason::Full { queued_rows: self.limits.queued_rows };
        if rows > self.limits.queued_rows {
            return Err(full);
        }
        let than = self.waiting.units_of(party, priority) + asked.units();
        let rows = rows.saturating_sub(self.free(priority));
        self.waiting.calls_for(Room { priority, than, rows }).ok_or(full)
    }

    /// Recalls calls of clients with more work until a call has its places, or none.
    fn make_room(&mut self, asked: &Asked<'_>, now: Duration) -> Result<(), ShedReason> {
        let calls = self.room_for(asked)?;
        calls.into_iter().for_each(|call| self.recall(call, now));
        Ok(())
    }

    /// Counts a refusal.
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
            self.exceed(asked, now);
        }
        shed
    }

    /// Counts a refused call in overload. In a flood, calls that do not begin soon leave the queue.
    pub(super) fn exceed(&mut self, asked: &Asked<'_>, now: Duration) {
        let rows = self.most_rows();
        let mut excess = self.excess.filter(|_| self.is_overloaded(now)).unwrap_or_else(|| Excess::new(now));
        excess.refuse(self.row_seconds(asked), rows, now);
        let begins = !excess.is_short && excess.is_flood(rows) && self.pace.step_time().is_some();
        excess.is_short |= begins;
        self.excess = Some(excess);
        if begins {
            self.limit_rows();
            self.shorten(now);
        }
    }

    /// After a flood there are no limits, though nobody plans a step that would show it.
    fn lift_limits(&mut self, now: Duration) {
        if !self.is_overloaded(now) {
            self.starts = EvenStarts::default();
        }
    }

    /// In a flood no more rows run than are worth it.
    fn limit_rows(&mut self) {
        let (all, is_short) = (self.running.rows(), self.excess.is_some_and(|excess| excess.is_short));
        // Rows may have come all at once. Under a limit by what few rows cost, steps are seen that tell more.
        let cost = self.pace.cost(StepCost::least_relevant(all)).or_else(|| self.pace.cost(0.0));
        self.starts.running = cost.filter(|_| is_short).map(|cost| cost.enough_rows(all)).filter(|rows| *rows < all);
    }

    /// Recalls calls until those that are left begin soon, the youngest of the client with the most work first.
    fn shorten(&mut self, now: Duration) {
        let Some(step) = self.pace.step_time().filter(|_| self.running.is_known()) else { return };
        let steps = self.short_wait().as_secs_f64() / step.as_secs_f64();
        let soon = self.running.within(self.starts.running, self.pace.share()).free_within(steps) as u32;
        while self.waiting.rows(Priority::Interactive) > soon {
            let Some(youngest) = self.waiting.youngest_of_heaviest(Priority::Interactive) else { return };
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

    /// Time after which a call of so many units, refused now, may be taken.
    fn retry_after(&mut self, units: u64, now: Duration) -> Duration {
        let Some(pace) = self.pace.units_per_s() else { return Shed::RETRY };
        self.returning.add(units, self.waiting.units(Priority::Interactive), pace, now)
    }
}
