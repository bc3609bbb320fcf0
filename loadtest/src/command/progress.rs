//! The display of a run on a terminal. Elsewhere nothing is shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::measurement::Recorder;

const INTERVAL: Duration = Duration::from_millis(200);

/// A line on the terminal until it is dropped.
pub struct Progress {
    bar: ProgressBar,
    task: tokio::task::JoinHandle<()>,
}

impl Progress {
    /// Shows what `recorder` has recorded of the requests that were sent.
    pub fn start(name: String, recorder: Arc<Mutex<Recorder>>, sent: Arc<AtomicU64>) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template names fields of a bar");
        let bar = ProgressBar::new_spinner().with_style(style);
        let shown = bar.clone();
        let task = tokio::spawn(async move {
            let start = Instant::now();
            let already = sent.load(Ordering::Relaxed);
            let mut before = (start, 0);
            loop {
                tokio::time::sleep(INTERVAL).await;
                let recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
                let (counts, ttft) = (recorder.counts(), recorder.ttft().percentile_ms(50.0));
                drop(recorder);
                let sent = sent.load(Ordering::Relaxed) - already;
                let now = Instant::now();
                let rate = (counts.target_tokens - before.1) as f64 / (now - before.0).as_secs_f64();
                before = (now, counts.target_tokens);
                let in_flight = sent.saturating_sub(counts.ended);
                shown.set_message(format!(
                    "{name}{}: {sent} sent, {in_flight} in flight, {} whole, {} failed, {} left; {rate:.0} tokens/s, \
                     TTFT p50 {ttft:.1} ms",
                    HumanDuration(start.elapsed()),
                    counts.completed,
                    counts.failed,
                    counts.left,
                ));
                shown.tick();
            }
        });
        Self { bar, task }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}
