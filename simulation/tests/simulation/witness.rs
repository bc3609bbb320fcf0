//! A client that watches whose turn it is while it waits.

use std::collections::HashMap;

use simulation::request::{CallId, Priority, RequestId};

/// Most requests of another call that start while somebody waits: the one whose turn it was already, and one more.
const MOST: u32 = 2;

/// A request that waits, the first of its call, and those that started meanwhile.
#[derive(Debug, Default)]
pub struct Witness {
    waits: Option<(RequestId, Priority)>,
    started: HashMap<CallId, u32>,
    /// Requests that were watched until they started.
    pub watched: u64,
}

impl Witness {
    /// Watches this request, unless another one is being watched.
    pub fn come(&mut self, id: RequestId, priority: Priority) {
        if self.waits.is_none() {
            self.waits = Some((id, priority));
            self.started.clear();
        }
    }

    /// Gives up the request.
    pub fn leave(&mut self, id: RequestId) {
        self.waits = self.waits.filter(|(waits, _)| *waits != id);
    }

    /// Notes that a request of a call started.
    pub fn start(&mut self, id: RequestId, call: CallId, priority: Priority) {
        let Some((waits, least)) = self.waits else { return };
        if waits == id {
            self.waits = None;
            self.watched += 1;
        } else if priority >= least {
            let started = self.started.entry(call).or_default();
            *started += 1;
            assert!(*started <= MOST, "{call:?} starts a request for the third time while {waits:?} waits");
        }
    }
}
