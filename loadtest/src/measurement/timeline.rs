//! The run second by second.

use serde::Serialize;

use super::record::Record;

/// Longest timeline, in seconds: a month. What comes later counts for the last second.
const MOST_SECONDS: usize = 31 * 24 * 3600;

/// The seconds of a run.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    seconds: Vec<Second>,
}

/// One second of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Second {
    /// Requests that were due.
    pub due: u64,
    /// Requests whose answers were whole and ended.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Tokens of whole answers that came.
    pub tokens: u64,
    /// Whole requests that had been sent and not ended at some moment.
    pub active: u64,
    /// Sum of the latencies to the end of answers that ended, in milliseconds.
    pub e2el_sum_ms: f64,
    #[serde(skip)]
    started: u64,
}

impl Timeline {
    /// Adds a request.
    pub fn add(&mut self, record: &Record) {
        self.at(record.due.as_secs_f64()).due += 1;
        let end = record.end.as_secs_f64();
        if !record.is_whole() {
            if let crate::client::Outcome::Failed(_) = record.outcome {
                self.at(end).failed += 1;
            }
            return;
        }
        self.at(record.sent.as_secs_f64()).started += 1;
        let second = self.at(end);
        second.completed += 1;
        second.e2el_sum_ms += record.e2el().as_secs_f64() * 1000.0;
        self.add_tokens(record);
    }

    /// Tokens at the times of the pieces that brought them; those beyond the pieces came with the last.
    fn add_tokens(&mut self, record: &Record) {
        let mut left = u64::from(record.target_tokens);
        for arrival in record.texts() {
            let piece = left.min(1);
            self.at(arrival.time.as_secs_f64()).tokens += piece;
            left -= piece;
        }
        self.at(record.end.as_secs_f64()).tokens += left;
    }

    fn at(&mut self, time: f64) -> &mut Second {
        let index = (time as usize).min(MOST_SECONDS - 1);
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    /// The seconds, from the start of the run.
    pub fn seconds(&self) -> Vec<Second> {
        let mut active = 0;
        let finished = self.seconds.iter().map(|second| {
            active += second.started;
            let seen = active;
            active -= second.completed;
            Second { active: seen, ..*second }
        });
        finished.collect()
    }
}
