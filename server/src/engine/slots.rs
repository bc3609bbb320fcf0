//! Places in the engine's queue: taken by a call before its costly work, given back as its sequences start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::overload::{Entered, Figures, Gate, GateLimits, NewCall, RowsTaken, StartLimits, StepTaken, Visitor, Work};
use crate::request::{Caller, Priority, Shed};

/// Places of one call in the engine's queue.
#[derive(Debug)]
pub struct Slots {
    queue: QueueSlots,
    caller: Caller,
    rows: u32,
}

impl Slots {
    /// Takes `rows` of these places out; `None` when fewer are left.
    pub fn split(&mut self, rows: u32) -> Option<Self> {
        self.rows = self.rows.checked_sub(rows)?;
        Some(Self { queue: self.queue.clone(), caller: self.caller.clone(), rows })
    }

    /// Takes all of these places out.
    pub fn take(&mut self) -> Self {
        let rows = std::mem::take(&mut self.rows);
        Self { queue: self.queue.clone(), caller: self.caller.clone(), rows }
    }

    /// Places for so many requests, `rows` for each. Those that are left over are given back with the iterator.
    ///
    /// # Panics
    /// The iterator panics when there are too few.
    pub fn divide(mut self, requests: usize, rows: u32) -> impl Iterator<Item = Self> {
        (0..requests).map(move |_| self.split(rows).expect("places for all requests were reserved"))
    }

    /// The caller whose requests take these places.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Tells what the sequences in these places cost together, once their texts are tokens.
    pub fn settle(&self, work: Work) {
        self.queue.state().gate.settle(self.caller.call, work.part_of(self.rows.into()));
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if self.rows > 0 {
            let mut state = self.queue.state();
            state.taken -= u64::from(self.rows);
            state.gate.leave(self.caller.call, self.rows);
        }
    }
}

/// Places that a call was given.
#[derive(Debug)]
pub struct Place {
    /// The places.
    pub slots: Slots,
    /// How the call learns that it was shed after all.
    pub entered: Entered,
}

/// All places of the queue: as many for each priority, so that idle calls take none from interactive ones. Clones are
/// the same queue.
#[derive(Debug, Clone)]
pub(super) struct QueueSlots {
    state: Arc<Mutex<State>>,
    /// The gate's time counts from here.
    start: Instant,
    total: u32,
}

#[derive(Debug)]
struct State {
    gate: Gate,
    /// Places that calls have, shed ones included.
    taken: u64,
    is_closed: bool,
}

impl QueueSlots {
    /// A queue of free places.
    pub fn new(limits: GateLimits) -> Self {
        let state = State { gate: Gate::new(limits), taken: 0, is_closed: false };
        Self { state: Arc::new(Mutex::new(state)), start: Instant::now(), total: limits.queued_rows }
    }

    /// Gives a call its places.
    ///
    /// # Errors
    /// When it is shed, or when the queue is closed.
    pub fn take(&self, call: NewCall) -> Result<Place, Shed> {
        let (now, caller, rows) = (self.now(), call.caller.clone(), call.rows);
        let mut state = self.state();
        if state.is_closed {
            return Err(Shed::full(self.total));
        }
        let entered = state.gate.enter(call, now)?;
        state.taken += u64::from(rows);
        drop(state);
        Ok(Place { slots: Slots { queue: self.clone(), caller, rows }, entered })
    }

    /// Whether a call could get a place, whatever its body asks for. Counts nothing.
    pub fn may_enter(&self, visitor: &Visitor) -> bool {
        self.state().gate.may_enter(visitor, self.now())
    }

    /// Refuses a call that could get no place.
    ///
    /// # Errors
    /// When it would be shed.
    pub fn check(&self, visitor: &Visitor) -> Result<(), Shed> {
        self.state().gate.check(visitor, self.now())
    }

    /// Number of free places for interactive calls.
    pub fn free(&self) -> usize {
        let state = self.state();
        if state.is_closed { 0 } else { state.gate.free(Priority::Interactive) as usize }
    }

    /// Tells the gate of a step.
    pub fn step(&self, step: &StepTaken) {
        self.state().gate.step(step);
    }

    /// Tells the gate of the rows as they are; `left` are the most tokens that each interactive row may still get.
    pub fn rows(&self, taken: RowsTaken, left: impl Iterator<Item = u32>) {
        self.state().gate.rows(taken, left);
    }

    /// Limits of the sequences that begin with the next step.
    pub fn starts(&self) -> StartLimits {
        self.state().gate.starts(self.now())
    }

    /// Tells the gate with how many rows sequences began.
    pub fn begun(&self, rows: usize) {
        if rows > 0 {
            self.state().gate.begun(rows);
        }
    }

    /// Tells the gate of a choice that ended.
    pub fn finished(&self, asked: u32, generated: u32) {
        self.state().gate.finished(asked, generated);
    }

    /// The gate's figures.
    pub fn figures(&self) -> Figures {
        self.state().gate.figures(self.now())
    }

    /// Takes every place away for good, unless a call has one. After success no request is on its way to the engine,
    /// and none will be.
    pub fn close(&self) -> bool {
        let mut state = self.state();
        state.is_closed |= state.taken == 0;
        state.is_closed
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can be left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
