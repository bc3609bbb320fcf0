//! The door of the engine: slots, limits, submission, and the stream that comes back.
//!
//! Called by `api`, `generate` and tests. Holds no model and never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::limits::EngineLimits;
use super::pulse::Pulse;
use crate::request::{CallId, Caller, GenerationEvent, GenerationRequest, Refusal, RequestId, RequestLengths, Salt};

/// A message to the engine thread.
#[derive(Debug)]
pub enum Command {
    /// Queue a request.
    Submit(Submission),
    /// Forget a request, or one of its choices.
    Cancel {
        /// The request.
        id: RequestId,
        /// One choice; all of them when absent.
        choice: Option<u32>,
    },
    /// Finish what is there, then end the thread.
    Drain,
}

/// A request on its way into the engine.
#[derive(Debug)]
pub struct Submission {
    /// Name of the request.
    pub id: RequestId,
    /// What is asked.
    pub request: GenerationRequest,
    /// Where its events go. Bounded by the request's own length.
    pub events: UnboundedSender<GenerationEvent>,
    /// Place in the queue, given back when the request starts.
    pub slot: Slots,
}

/// Places of one call in the engine's queue, held from before tokenising until its requests start.
#[derive(Debug)]
pub struct Slots {
    permit: OwnedSemaphorePermit,
    caller: Caller,
}

impl Slots {
    /// Takes so many places out of these; `None` when fewer are left.
    pub fn split(&mut self, rows: u32) -> Option<Self> {
        Some(Self { permit: self.permit.split(rows as usize)?, caller: self.caller.clone() })
    }

    /// The caller whose requests take these places.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// All places of the queue, as the engine thread sees them.
#[derive(Debug)]
pub(super) struct Queue {
    slots: Arc<Semaphore>,
    places: u32,
}

impl Queue {
    /// Takes every place away for good, unless somebody has one. When it succeeds no request is on its way here, and
    /// none will be.
    pub(super) fn close(&self) -> bool {
        self.slots.try_acquire_many(self.places).map(SemaphorePermit::forget).is_ok()
    }
}

/// A cheap handle to the engine thread.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    commands: Sender<Command>,
    slots: Arc<Semaphore>,
    limits: EngineLimits,
    next_id: Arc<AtomicU64>,
    draining: Arc<AtomicBool>,
    pulse: Pulse,
}

impl EngineHandle {
    /// A handle that sends to `commands`.
    pub fn new(commands: Sender<Command>, limits: EngineLimits) -> Self {
        Self {
            commands,
            slots: Arc::new(Semaphore::new(limits.queued_rows as usize)),
            limits,
            next_id: Arc::new(AtomicU64::new(1)),
            draining: Arc::new(AtomicBool::new(false)),
            pulse: Pulse::new(),
        }
    }

    /// The limits of the door.
    pub const fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    /// Takes `rows` places in the queue for a new call, one for each of its sequences (prompts times choices): all of
    /// them or none. The call's sources are shared with those of calls under an equal `salt`.
    ///
    /// # Errors
    /// [`Refusal::Draining`], or [`Refusal::Overloaded`] when too few places are left.
    pub fn reserve(&self, salt: Salt, rows: u32) -> Result<Slots, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        match Arc::clone(&self.slots).try_acquire_many_owned(rows) {
            Ok(permit) => {
                let call = CallId(self.next_id.fetch_add(1, Ordering::Relaxed));
                Ok(Slots { permit, caller: Caller { call, salt } })
            }
            Err(_) if self.is_draining() => Err(Refusal::Draining),
            Err(_) => Err(Refusal::Overloaded { queued_rows: self.limits.queued_rows }),
        }
    }

    /// Whether [`Self::reserve`] could succeed now, for whoever has costly work to do before.
    ///
    /// # Errors
    /// What `reserve` would say.
    pub fn check_vacancy(&self) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        match self.free_slots() {
            0 => Err(Refusal::Overloaded { queued_rows: self.limits.queued_rows }),
            _ => Ok(()),
        }
    }

    /// As [`EngineLimits::check`].
    pub fn check(&self, lengths: RequestLengths) -> Result<(), Refusal> {
        self.limits.check(lengths)
    }

    /// Hands a checked request over. Its events arrive on the returned stream; dropping that cancels it.
    pub fn submit(&self, slot: Slots, request: GenerationRequest) -> Result<Generation, Refusal> {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (events, receiver) = unbounded_channel();
        let submission = Submission { id, request, events, slot };
        self.commands.send(Command::Submit(submission)).map_err(|_| Refusal::Draining)?;
        Ok(Generation { id, events: receiver, commands: self.commands.clone() })
    }

    /// Refuses new requests from now on and lets the engine end when its work is done. Whoever has a place in the
    /// queue by then may still submit.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        // An engine that is gone has nothing left to drain.
        let _ = self.commands.send(Command::Drain);
    }

    /// Whether [`Self::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Time since the engine last showed that it lives.
    pub fn silence(&self) -> Duration {
        self.pulse.silence()
    }

    /// What the engine thread gives its signs of life with.
    pub(super) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// The queue's places, for the engine thread.
    pub(super) fn queue(&self) -> Queue {
        Queue { slots: Arc::clone(&self.slots), places: self.limits.queued_rows }
    }

    /// Places left in the queue.
    pub fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }
}

/// The events of one request. Dropping it cancels what is still running.
#[derive(Debug)]
pub struct Generation {
    id: RequestId,
    events: UnboundedReceiver<GenerationEvent>,
    commands: Sender<Command>,
}

impl Generation {
    /// The next event; `None` after the last one, or when the engine is gone.
    pub async fn next(&mut self) -> Option<GenerationEvent> {
        self.events.recv().await
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<GenerationEvent> {
        self.events.try_recv().ok()
    }

    /// As [`Self::next`], for a thread outside the async runtime.
    pub fn blocking_next(&mut self) -> Option<GenerationEvent> {
        self.events.blocking_recv()
    }

    /// Ends one choice within a step; events of it may still be under way.
    pub fn cancel_choice(&self, choice: u32) {
        let _ = self.commands.send(Command::Cancel { id: self.id, choice: Some(choice) });
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Cancel { id: self.id, choice: None });
    }
}
