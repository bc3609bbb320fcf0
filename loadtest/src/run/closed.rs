//! The closed loop: each client sends its next request when the last is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Halt, Sending};
use crate::measurement::Slot;
use crate::scenario::ClientStage;

/// Time between two looks of a client that is not yet, or no longer, part of a ramp.
const LOOK: Duration = Duration::from_millis(5);

impl Sending {
    /// Keeps as many clients busy as the stages say.
    pub async fn closed(self: Arc<Self>, stages: Vec<ClientStage>) {
        let most = stages.iter().map(|stage| stage.from.max(stage.to).ceil() as u64).max().unwrap_or_default();
        let stages: Arc<[ClientStage]> = stages.into();
        let next = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for index in 0..most {
            let (sending, stages, next) = (Arc::clone(&self), Arc::clone(&stages), Arc::clone(&next));
            tasks.spawn(async move { sending.be_client(index, &stages, &next).await });
        }
        self.drain(tasks).await;
    }

    async fn be_client(&self, index: u64, stages: &[ClientStage], next: &AtomicU64) {
        while self.run.halt.now() == Halt::No {
            let Some(clients) = clients_at(stages, self.start.elapsed().as_secs_f64()) else { return };
            if index as f64 >= clients.round() {
                sleep(LOOK).await;
                continue;
            }
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.most {
                return;
            }
            self.perform(Slot { number: self.first_number + number, due: self.start.elapsed() }).await;
        }
    }
}

/// Clients at a time of the load; none after its end.
fn clients_at(stages: &[ClientStage], mut time: f64) -> Option<f64> {
    for stage in stages {
        if time < stage.seconds {
            return Some(stage.from + (stage.to - stage.from) * time / stage.seconds);
        }
        time -= stage.seconds;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_follow_the_stages_and_end_with_them() {
        let stage = |seconds, from, to| ClientStage { seconds, from, to };
        let stages = [stage(2.0, 0.0, 8.0), stage(1.0, 3.0, 3.0)];
        let at = |time| clients_at(&stages, time);
        assert_eq!([at(0.0), at(1.0), at(2.5), at(3.0)], [Some(0.0), Some(4.0), Some(3.0), None]);
    }
}
