//! An encoder request on its way into the engine, and the stream of events that comes back.

use std::sync::mpsc::Sender;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tracing::Span;

use super::generation::Command;
use super::slots::Slots;
use crate::request::{EncodeRequest, EncodingEvent, RequestId};

/// An encoder request on its way into the engine.
#[derive(Debug)]
pub struct EncodeSubmission {
    /// Id of the request.
    pub id: RequestId,
    /// The request.
    pub request: EncodeRequest,
    /// Where its events go; two at most.
    pub events: UnboundedSender<EncodingEvent>,
    /// Its place in the queue, given back when the source enters the encoder.
    pub slot: Slots,
    /// The span of the client's request, for the log.
    pub span: Span,
}

/// The events of one encoder request. Dropping the stream cancels the request.
#[derive(Debug)]
pub struct Encoding {
    id: RequestId,
    events: UnboundedReceiver<EncodingEvent>,
    commands: Sender<Command>,
}

impl Encoding {
    /// The stream of a submitted request. A cancellation goes to `commands`.
    pub(super) const fn new(
        id: RequestId,
        events: UnboundedReceiver<EncodingEvent>,
        commands: Sender<Command>,
    ) -> Self {
        Self { id, events, commands }
    }

    /// The next event; `None` after the last one, or when the engine is gone.
    pub async fn next(&mut self) -> Option<EncodingEvent> {
        self.events.recv().await
    }

    /// Waits for the next event like [`Self::next`], on a thread outside the async runtime.
    pub fn blocking_next(&mut self) -> Option<EncodingEvent> {
        self.events.blocking_recv()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Cancel { id: self.id, choice: None });
    }
}
