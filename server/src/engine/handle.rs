//! The engine's door: places in the queue, limits, submission and draining.
//!
//! Called by `api`, the commands and tests. Holds no model and never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tracing::Span;

use super::encoding::{EncodeSubmission, Encoding};
use super::generation::{Command, Generation, Submission};
use super::heartbeat::Heartbeat;
use super::limits::EngineLimits;
use super::slots::{Place, QueueSlots, Slots};
use crate::overload::{NewCall, Visitor, Work};
use crate::request::{CallId, Caller, EncodeRequest, GenerationRequest, Refusal, RequestId, RequestLengths, Salt};

/// A cheap handle to the engine thread.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    commands: Sender<Command>,
    slots: QueueSlots,
    limits: EngineLimits,
    next_id: Arc<AtomicU64>,
    draining: Arc<AtomicBool>,
    heartbeat: Heartbeat,
}

impl EngineHandle {
    /// A handle that sends to `commands`.
    pub fn new(commands: Sender<Command>, limits: EngineLimits) -> Self {
        Self {
            commands,
            slots: QueueSlots::new(limits.gate()),
            limits,
            next_id: Arc::new(AtomicU64::new(1)),
            draining: Arc::new(AtomicBool::new(false)),
            heartbeat: Heartbeat::new(),
        }
    }

    /// The engine's limits.
    pub const fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    /// Takes `rows` places in the queue for a new call of this program's own, one for each of its sequences (prompts
    /// times choices) or of its encoder requests: all of them or none. It waits for as long as it must, and shares
    /// sources with calls that have an equal `salt`.
    ///
    /// # Errors
    /// [`Refusal::Draining`], or [`Refusal::Shed`] when too few places are free.
    pub fn reserve(&self, salt: Salt, rows: u32) -> Result<Slots, Refusal> {
        let caller = Caller { salt, ..Caller::default() };
        Ok(self.enter(NewCall::patient(caller, rows))?.slots)
    }

    /// Takes the places of a new call, whose id is given here.
    ///
    /// # Errors
    /// [`Refusal::Draining`], or [`Refusal::Shed`] when the call is not to wait in the queue.
    pub fn enter(&self, call: NewCall) -> Result<Place, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        let caller = Caller { call: CallId(self.new_id()), ..call.caller };
        // The queue may have been closed since.
        let place = self.slots.take(NewCall { caller, ..call });
        place.map_err(|shed| if self.is_draining() { Refusal::Draining } else { shed.into() })
    }

    /// Whether [`Self::enter`] could succeed now for a call whose body is not read yet. Counts nothing.
    pub fn has_vacancy(&self, visitor: &Visitor) -> bool {
        !self.is_draining() && self.slots.may_enter(visitor)
    }

    /// Refuses a call for which [`Self::enter`] could not succeed now, for callers with costly work to do before it.
    ///
    /// # Errors
    /// What `enter` would return.
    pub fn check_vacancy(&self, visitor: &Visitor) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        Ok(self.slots.check(visitor)?)
    }

    /// Calls [`EngineLimits::check`].
    ///
    /// # Errors
    /// The refusal that it returns.
    pub fn check(&self, lengths: RequestLengths) -> Result<(), Refusal> {
        self.limits.check(lengths)
    }

    /// Hands a checked request over. Its events arrive on the returned stream; dropping the stream cancels the request.
    ///
    /// # Errors
    /// [`Refusal::Draining`] when the engine has ended.
    pub fn submit(&self, slot: Slots, request: GenerationRequest) -> Result<Generation, Refusal> {
        let id = RequestId(self.new_id());
        let RequestLengths { source, .. } = request.lengths();
        let sequences = u64::from(request.sequences()) * request.branches() as u64;
        let target_tokens = sequences * request.lengths().target_positions() as u64;
        slot.settle(Work { source_tokens: source as u64, target_tokens });
        let (events, receiver) = unbounded_channel();
        let submission = Submission { id, request, events, slot, span: Span::current() };
        self.commands.send(Command::Submit(submission)).map_err(|_| Refusal::Draining)?;
        Ok(Generation::new(id, receiver, self.commands.clone()))
    }

    /// Hands an encoder request over. Its events arrive on the returned stream; dropping that cancels the request.
    ///
    /// # Errors
    /// The refusal of [`EngineLimits::check_encoding`], or [`Refusal::Draining`] when the engine has ended.
    pub fn encode(&self, slot: Slots, request: EncodeRequest) -> Result<Encoding, Refusal> {
        self.limits.check_encoding(request.tokens(), request.readout)?;
        let id = RequestId(self.new_id());
        slot.settle(Work { source_tokens: request.tokens() as u64, target_tokens: 0 });
        let (events, receiver) = unbounded_channel();
        let submission = EncodeSubmission { id, request, events, slot, span: Span::current() };
        self.commands.send(Command::Encode(submission)).map_err(|_| Refusal::Draining)?;
        Ok(Encoding::new(id, receiver, self.commands.clone()))
    }

    /// Refuses new requests from now on and lets the engine end when its work is done. Calls that have places in the
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

    /// Time since the engine's last heartbeat.
    pub fn silence(&self) -> Duration {
        self.heartbeat.silence()
    }

    /// The heartbeat that the engine thread gives.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// All places of the queue, for the engine thread.
    pub(super) fn slots(&self) -> QueueSlots {
        self.slots.clone()
    }

    /// Number of free places in the queue for interactive calls.
    pub fn free_slots(&self) -> usize {
        self.slots.free()
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}
