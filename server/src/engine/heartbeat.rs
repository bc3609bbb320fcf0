//! The engine's heartbeat.
//!
//! Given by the engine thread after each step, and every quarter of a second while it is idle; read by `/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the engine last showed that it lives. All clones belong to the same engine.
#[derive(Debug, Clone)]
pub(super) struct Heartbeat {
    began: Instant,
    /// Milliseconds from `began` to the last beat.
    last_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Creating it counts as the first beat.
    pub fn new() -> Self {
        Self { began: Instant::now(), last_ms: Arc::default() }
    }

    /// Shows that the engine lives.
    pub fn beat(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Time since the last beat.
    pub fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_the_time_since_the_last_beat() {
        let heartbeat = Heartbeat::new();
        let pause = Duration::from_millis(20);
        std::thread::sleep(pause);
        let before = heartbeat.silence();
        assert!(before >= pause);
        heartbeat.clone().beat();
        assert!(heartbeat.silence() < before);
    }
}
