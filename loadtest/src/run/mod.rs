//! Runs loads: sends requests when they are due, and hands over what was seen of each.
//!
//! Writes and prints nothing.

mod closed;
mod halt;
mod open;
mod sweep;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub use halt::{Halt, HaltSwitch};
pub use sweep::Search;

use crate::arrivals::Schedule;
use crate::client::{Client, Outcome, observe};
use crate::measurement::{Record, Slot};
use crate::scenario::{Load, Pace};
use crate::workload::Workload;

/// Number of the first request that warms up; numbers that are measured stay below it.
const FIRST_WARMUP: u64 = 1 << 61;

/// Takes each record when its request has ended.
pub type Sink = Arc<dyn Fn(&Record) + Send + Sync>;

/// Sends the requests of a workload to a server.
#[derive(Clone)]
pub struct Run {
    /// The server.
    pub client: Arc<Client>,
    /// Makes the requests.
    pub workload: Arc<Workload>,
    /// Longest time for an answer.
    pub timeout: Duration,
    /// Seed of arrivals.
    pub seed: u64,
    /// Takes the records.
    pub sink: Sink,
    /// Ends the run early.
    pub halt: HaltSwitch,
    /// Requests that were sent so far.
    pub sent: Arc<AtomicU64>,
}

/// The requests of one load.
struct Sending {
    run: Run,
    start: Instant,
    first_number: u64,
    /// Most requests of the load.
    most: u64,
}

impl Run {
    /// Sends requests before the measurement, one after the other, and records none.
    ///
    /// # Errors
    /// Why the first answer that was not whole was not.
    pub async fn warm_up(&self, requests: u64) -> Result<(), String> {
        for number in FIRST_WARMUP..FIRST_WARMUP + requests {
            let observed = observe(&self.client, &self.workload.request(number), self.timeout).await;
            if let Outcome::Failed(fault) = observed.outcome {
                return Err(format!("{}: {}", fault.class, fault.detail));
            }
        }
        Ok(())
    }

    /// Runs a load, whose requests are numbered from `first_number`. Ends when the last answer has ended.
    pub async fn load(&self, load: &Load, pace: &Pace, first_number: u64) {
        let most = load.requests.unwrap_or(u64::MAX);
        let sending = || Arc::new(Sending { run: self.clone(), start: Instant::now(), first_number, most });
        match pace {
            Pace::Open(stages) => {
                // A long schedule takes time to make, so it is there before the clock starts.
                let schedule = Schedule::new(stages, load.gamma_shape(), self.seed.wrapping_add(first_number));
                sending().open(schedule, load.concurrency).await;
            }
            Pace::Closed(stages) => sending().closed(stages.clone()).await,
        }
    }
}

impl Sending {
    async fn perform(&self, slot: Slot) {
        self.run.sent.fetch_add(1, Ordering::Relaxed);
        let request = self.run.workload.request(slot.number);
        let observed = observe(&self.run.client, &request, self.run.timeout).await;
        (self.run.sink)(&Record::new(slot, self.start, &request, observed));
    }

    /// Waits until all tasks have ended, or until the run is halted at once.
    async fn drain(&self, mut tasks: JoinSet<()>) {
        let mut halt = self.run.halt.clone();
        loop {
            tokio::select! {
                ended = tasks.join_next() => if ended.is_none() { return },
                () = halt.reached(Halt::AtOnce) => return tasks.shutdown().await,
            }
        }
    }
}
