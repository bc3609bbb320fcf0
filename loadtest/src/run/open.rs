//! The open loop: requests are sent on schedule, whether earlier ones are answered or not.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{Halt, HaltSwitch, Sending};
use crate::arrivals::Schedule;
use crate::measurement::Slot;

/// Longest sleep of the thread that keeps the schedule, after which it looks whether the run is halted.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

impl Sending {
    /// Sends on `schedule`. Arrivals beyond `concurrency` requests in flight wait in order; none is left out.
    pub async fn open(self: Arc<Self>, schedule: Schedule, concurrency: Option<usize>) {
        let (due, mut arrivals) = mpsc::unbounded_channel();
        let (start, halt) = (self.start, self.run.halt.clone());
        let (first_number, most) = (self.first_number, self.most);
        // A thread of its own, because timers of the runtime are a millisecond apart.
        thread::spawn(move || {
            let numbers = first_number..first_number.saturating_add(most);
            for (number, due_at) in numbers.zip(schedule) {
                if !sleep_until(start + due_at, &halt) || due.send(Slot { number, due: due_at }).is_err() {
                    return;
                }
            }
        });
        let places = concurrency.map(|most| Arc::new(Semaphore::new(most)));
        let mut tasks = JoinSet::new();
        while let Some(slot) = arrivals.recv().await {
            let (sending, places) = (Arc::clone(&self), places.clone());
            tasks.spawn(async move {
                let _place = match &places {
                    Some(places) => Some(places.acquire().await.expect("the semaphore is never closed")),
                    None => None,
                };
                if sending.run.halt.now() == Halt::No {
                    sending.perform(slot).await;
                }
            });
            while tasks.try_join_next().is_some() {}
        }
        self.drain(tasks).await;
    }
}

/// Sleeps until `time`, and says whether the run goes on.
fn sleep_until(time: Instant, halt: &HaltSwitch) -> bool {
    loop {
        if halt.now() != Halt::No {
            return false;
        }
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(LONGEST_SLEEP));
    }
}
