//! A request on its way into the engine, and the stream of events that comes back.

use std::sync::mpsc::Sender;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tracing::Span;

use super::encoding::EncodeSubmission;
use super::slots::Slots;
use crate::request::{GenerationEvent, GenerationRequest, RequestId};

/// A message to the engine thread.
#[derive(Debug)]
pub enum Command {
    /// Queue a request for generated tokens.
    Submit(Submission),
    /// Queue an encoder request.
    Encode(EncodeSubmission),
    /// End a request, or one of its choices.
    Cancel {
        /// The request.
        id: RequestId,
        /// The choice; all of them when absent.
        choice: Option<u32>,
    },
    /// Finish the requests that are there, then end the thread.
    Drain,
}

/// A request on its way into the engine.
#[derive(Debug)]
pub struct Submission {
    /// Id of the request.
    pub id: RequestId,
    /// The request.
    pub request: GenerationRequest,
    /// Where its events go. Bounded by the request's own length.
    pub events: UnboundedSender<GenerationEvent>,
    /// Places in the queue, given back as the choices start.
    pub slot: Slots,
    /// The span of the client's request, for the log.
    pub span: Span,
}

/// The events of one request. Dropping the stream cancels the request.
#[derive(Debug)]
pub struct Generation {
    id: RequestId,
    events: UnboundedReceiver<GenerationEvent>,
    commands: Sender<Command>,
}

impl Generation {
    /// The stream of a submitted request. Cancellations go to `commands`.
    pub(super) const fn new(
        id: RequestId,
        events: UnboundedReceiver<GenerationEvent>,
        commands: Sender<Command>,
    ) -> Self {
        Self { id, events, commands }
    }

    /// The next event; `None` after the last one, or when the engine is gone.
    pub async fn next(&mut self) -> Option<GenerationEvent> {
        self.events.recv().await
    }

    /// The next event if it has already arrived.
    pub fn try_next(&mut self) -> Option<GenerationEvent> {
        self.events.try_recv().ok()
    }

    /// Waits for the next event like [`Self::next`], on a thread outside the async runtime.
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
