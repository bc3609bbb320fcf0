//! The server's metrics during a run: how long its queue is, and how many rows and pages it uses.
//!
//! Knows the names of encdec, vLLM and TGI.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::Client;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MOST_BYTES: usize = 16 << 20;
/// Gauges whose sum is the length of the queue.
const QUEUE: [&str; 4] =
    ["encdec_waiting_rows", "encdec_waiting_encodings", "vllm:num_requests_waiting", "tgi_queue_size"];
/// Gauges whose sum is the number of rows of a batch.
const ROWS: [&str; 3] = ["encdec_running_rows", "vllm:num_requests_running", "tgi_batch_current_size"];
/// Gauges that say which share of the pages is used.
const PAGES: [&str; 3] = ["encdec_page_usage_ratio", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"];

/// One look at the server's metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds from the start of the run.
    pub time: f64,
    /// Requests that wait.
    pub queue: Option<f64>,
    /// Rows of the running batch.
    pub rows: Option<f64>,
    /// Share of the pages that is used, 0 to 1.
    pub pages: Option<f64>,
}

/// Looks at a server's metrics each second until it is dropped.
pub struct Scraper {
    samples: Arc<Mutex<Vec<Sample>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Scraper {
    /// Looks at `path` of the server, with times counted from `start`. A server without metrics gives no sample.
    pub fn start(client: Arc<Client>, path: String, start: Instant) -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&samples);
        let task = tokio::spawn(async move {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let time = start.elapsed().as_secs_f64();
                if let Ok(Some(text)) = timeout(TIMEOUT, read(&client, &path)).await {
                    let sample = Sample { time, ..sample(&text) };
                    if sample != (Sample { time, ..Sample::default() }) {
                        taken.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                    }
                }
            }
        });
        Self { samples, task }
    }

    /// The samples so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(client: &Client, path: &str) -> Option<String> {
    let (connection, response) = client.ask(path, None).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let body = http_body_util::Limited::new(response.into_body(), MOST_BYTES).collect().await.ok()?;
    client.keep(connection);
    String::from_utf8(body.to_bytes().into()).ok()
}

/// Sums the gauges of a page in Prometheus' text format.
fn sample(text: &str) -> Sample {
    let mut sample = Sample::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = metric(line) else { continue };
        let sums = [(&QUEUE[..], &mut sample.queue), (&ROWS[..], &mut sample.rows), (&PAGES[..], &mut sample.pages)];
        for (names, sum) in sums {
            if names.contains(&name) {
                *sum = Some(sum.unwrap_or_default() + value);
            }
        }
    }
    sample
}

/// The name and value of a line; labels and time are left out.
fn metric(line: &str) -> Option<(&str, f64)> {
    let end = line.find(['{', ' '])?;
    let rest = match line[end..].strip_prefix('{') {
        // A label may hold a brace, but what follows the last one is the value.
        Some(labels) => labels.rsplit_once('}')?.1,
        None => &line[end..],
    };
    Some((&line[..end], rest.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_summed_over_models_and_kinds() {
        let text = "# HELP encdec_waiting_rows Sequences.\nencdec_waiting_rows{model=\"a\"} 3\n\
                    encdec_waiting_rows{model=\"b}\"} 4 1700000\nencdec_waiting_encodings 1\n\
                    encdec_page_usage_ratio{model=\"a\"} 0.25\nother 9\n";
        assert_eq!(sample(text), Sample { queue: Some(8.0), pages: Some(0.25), ..Sample::default() });
        let vllm = "vllm:num_requests_running{model_name=\"m\"} 2.0\nvllm:kv_cache_usage_perc 0.5\n";
        assert_eq!(sample(vllm), Sample { rows: Some(2.0), pages: Some(0.5), ..Sample::default() });
        assert_eq!(sample("not metrics at all\n"), Sample::default());
    }
}
