//! Requests that are not over: the way of their events to the client, and their places in the queue.
//!
//! Used by the engine thread.

use std::collections::HashMap;

use tokio::sync::mpsc::UnboundedSender;

use super::slots::Slots;
use crate::request::{GenerationEvent, RequestId};

/// Open requests by id.
#[derive(Default)]
pub(super) struct OpenRequests(HashMap<RequestId, OpenRequest>);

struct OpenRequest {
    events: UnboundedSender<GenerationEvent>,
    /// Places in the queue of choices that have not begun.
    slots: Slots,
    choices: Vec<Choice>,
}

#[derive(Clone, Copy)]
struct Choice {
    /// Neither finished nor cancelled.
    is_alive: bool,
    /// Has begun, so that its place in the queue is free.
    has_begun: bool,
}

impl OpenRequests {
    /// Opens a request.
    pub fn insert(&mut self, id: RequestId, choices: u32, slots: Slots, events: UnboundedSender<GenerationEvent>) {
        let choices = vec![Choice { is_alive: true, has_begun: false }; choices as usize];
        self.0.insert(id, OpenRequest { events, slots, choices });
    }

    /// Closes a request or one of its choices. Returns false when the request is not open.
    pub fn cancel(&mut self, id: RequestId, choice: Option<u32>) -> bool {
        let Some(open) = self.0.get_mut(&id) else { return false };
        if choice.is_none_or(|choice| open.end(choice)) {
            self.0.remove(&id);
        }
        true
    }

    /// Sends an event to the client of a request, and closes what it ends. Events of closed requests are dropped.
    pub fn deliver(&mut self, id: RequestId, event: GenerationEvent) {
        let Some(open) = self.0.get_mut(&id) else { return };
        let is_over = match &event {
            GenerationEvent::Started { .. } => {
                // Choices have their turns in order.
                open.begin(0);
                false
            }
            GenerationEvent::Scored { choice, .. } | GenerationEvent::Token { choice, .. } => {
                open.begin(*choice);
                false
            }
            GenerationEvent::Finished { choice, .. } => open.end(*choice),
            GenerationEvent::Failed { message, .. } => {
                tracing::error!(request = id.0, message, "a request failed");
                true
            }
        };
        // A client that is gone needs no telling.
        let _ = open.events.send(event);
        if is_over {
            self.0.remove(&id);
        }
    }
}

impl OpenRequest {
    /// Frees the place in the queue of a choice that has a row, or will never have one.
    fn begin(&mut self, choice: u32) {
        if let Some(choice) = self.choices.get_mut(choice as usize)
            && !std::mem::replace(&mut choice.has_begun, true)
        {
            drop(self.slots.split(1));
        }
    }

    /// Ends a choice. Returns whether it was the last one.
    fn end(&mut self, choice: u32) -> bool {
        self.begin(choice);
        if let Some(choice) = self.choices.get_mut(choice as usize) {
            choice.is_alive = false;
        }
        !self.choices.iter().any(|choice| choice.is_alive)
    }
}
