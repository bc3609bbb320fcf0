//! Conditions of readiness beside the engine: connections are accepted, and the server is not about to end.
//!
//! Written by `serve`, read by `/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared between the tasks that accept connections and the readiness check.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A task that accepts connections has ended.
    is_deaf: AtomicBool,
    is_leaving: AtomicBool,
}

impl Liveness {
    /// Marks the server as about to end, so that load balancers stop sending to it.
    pub fn leave(&self) {
        self.0.is_leaving.store(true, Ordering::Release);
    }

    /// Whether [`Self::leave`] was called.
    pub fn is_leaving(&self) -> bool {
        self.0.is_leaving.load(Ordering::Acquire)
    }

    /// Whether every task that should accept connections still does.
    pub fn is_accepting(&self) -> bool {
        !self.0.is_deaf.load(Ordering::Acquire)
    }

    /// Returns a guard that a task holds as long as it accepts connections.
    pub(crate) fn accepting(&self) -> Hearing {
        Hearing(self.clone())
    }
}

/// Guard of a task that accepts connections.
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
