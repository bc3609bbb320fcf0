//! The engine's sign of life.
//!
//! Given by the engine thread after each step, and every quarter of a second while it is idle; read by `/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the engine last showed that it lives. All clones are of the same engine.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    began: Instant,
    /// Milliseconds from `began` to the last sign.
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// Begins with a sign.
    pub fn new() -> Self {
        Self { began: Instant::now(), last_ms: Arc::default() }
    }

    /// Gives a sign.
    pub fn beat(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Time since the last sign.
    pub fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_the_time_since_the_last_sign() {
        let pulse = Pulse::new();
        let pause = Duration::from_millis(20);
        std::thread::sleep(pause);
        let before = pulse.silence();
        assert!(before >= pause);
        pulse.clone().beat();
        assert!(pulse.silence() < before);
    }
}
