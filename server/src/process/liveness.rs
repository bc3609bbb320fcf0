//! What readiness depends on besides the engine: that connections are accepted, and that the server stays.
//!
//! Written by `serve`, read by `/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared between whoever accepts connections and whoever is asked for readiness.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A task that accepts connections has ended.
    is_deaf: AtomicBool,
    is_leaving: AtomicBool,
}

impl Liveness {
    /// The server is going to end: whoever distributes requests should look for another.
    pub fn leave(&self) {
        self.0.is_leaving.store(true, Ordering::Release);
    }

    /// Whether [`Self::leave`] was called.
    pub fn is_leaving(&self) -> bool {
        self.0.is_leaving.load(Ordering::Acquire)
    }

    /// Whether connections are accepted, as far as anybody was to do so.
    pub fn is_accepting(&self) -> bool {
        !self.0.is_deaf.load(Ordering::Acquire)
    }

    /// To be held by a task as long as it accepts connections.
    pub(crate) fn accepting(&self) -> Hearing {
        Hearing(self.clone())
    }
}

/// A task that accepts connections.
#[derive(Debug)]
pub(crate) struct Hearing(Liveness);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.0.is_deaf.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_ends_leaves_the_server_deaf() {
        let liveness = Liveness::default();
        let hearing = liveness.accepting();
        assert!(liveness.is_accepting());
        drop(hearing);
        assert!(!liveness.is_accepting());
    }
}
