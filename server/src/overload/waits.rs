//! How long calls are expected to wait, how long they may, and how long their answers take at least.

use std::time::Duration;

use super::asked::{Asked, Times};
use super::gate::Gate;
use super::work::Work;
use crate::request::{Priority, ShedReason};

/// Steps that the queue may always last in overload: rows that the present step frees are taken by the next one.
const LEAST_STEPS: u32 = 1;

impl Gate {
    /// Whether a call would wait for too long, or be late.
    pub(super) fn judge(&self, asked: &Asked<'_>, times: Times) -> Result<(), ShedReason> {
        let Some(expected) = self.expected_wait(asked) else { return Ok(()) };
        let needed = expected + times.least;
        if times.left.is_some_and(|left| needed > left) {
            return Err(ShedReason::Deadline { needed });
        }
        let bound = if self.is_overloaded(times.now) { self.short_wait_of(asked) } else { self.long_wait() };
        // Idle calls run on what is left; how long they wait nobody knows.
        let is_bounded = asked.priority == Priority::Interactive;
        if is_bounded && expected > bound { Err(ShedReason::LongWait { expected }) } else { Ok(()) }
    }

    /// Time until the first sequence of a call runs, if the pace is known.
    pub(super) fn expected_wait(&self, asked: &Asked<'_>) -> Option<Duration> {
        let (step, pace) = (self.pace.step_time()?, self.pace.units_per_s()?);
        let Asked { party, priority, row_units, has_target, .. } = *asked;
        let ahead = self.waiting.units_ahead(party, priority, row_units) as f64;
        let rows = (ahead / self.waiting.mean_row_units(priority, row_units)) as usize;
        let running = self.running.within(self.starts.running, self.pace.share());
        let free = running.steps_until_free(rows).filter(|_| has_target);
        let steps = free.map(|steps| steps.max(self.starts.steps_of(rows)));
        Some(steps.map_or_else(|| Duration::from_secs_f64(ahead / pace), |steps| step.mul_f64(steps)))
    }

    /// Time that an answer takes once it has begun; before one has ended, the most that those that run may take.
    pub(super) fn answer_time(&self) -> Duration {
        let mean = self.pace.mean_tokens();
        let tokens = if mean > 0.0 { mean } else { f64::from(self.running.most_left()) };
        self.pace.step_time().unwrap_or_default().mul_f64(tokens)
    }

    /// Longest wait in ordinary times: where answers take long, people wait for them as well. As many clients as twice
    /// the rows, each with one request after the other, wait for one answer.
    fn long_wait(&self) -> Duration {
        self.limits.wait.usual + self.answer_time()
    }

    /// Longest wait in overload.
    pub(super) fn short_wait(&self) -> Duration {
        let step = self.pace.step_time().unwrap_or_default();
        let part = self.answer_time().mul_f64(f64::from(self.limits.wait.overload_percent) / 100.0);
        part.min(self.limits.wait.usual).max(step * LEAST_STEPS)
    }

    /// Longest wait of a call in overload. A client with nothing else in the queue may wait twice as long, so that
    /// chance does not turn away those who ask for less than their share.
    fn short_wait_of(&self, asked: &Asked<'_>) -> Duration {
        let has_others = self.waiting.units_of(asked.party, asked.priority) > 0;
        self.short_wait() * if has_others { 1 } else { 2 }
    }

    /// The least time that an answer takes once it has begun, beside those that run and wait now; none while there are
    /// no others, as nobody has anything from a refusal then.
    pub(super) fn least_time(&self, least: Work, now: Duration) -> Duration {
        let running = self.running.running();
        let others = running + self.waiting.rows(Priority::Interactive) as usize;
        let others = others.min(self.most_rows().saturating_sub(1));
        let Some(step) = self.pace.time_of_step(others).filter(|_| running > 0) else { return Duration::ZERO };
        // A step of few rows is filled with drafts, all of which may be right.
        let tokens = (self.limits.draft_rows / (others + 1)).max(1) as u64;
        let decoding = step.mul_f64(least.target_tokens.div_ceil(tokens) as f64);
        // Its source may be there already. In overload it is one of many, most of which are not.
        let pace = self.pace.units_per_s().filter(|_| self.is_overloaded(now));
        decoding + pace.map_or(Duration::ZERO, |pace| Duration::from_secs_f64(least.source_tokens as f64 / pace))
    }

    pub(super) fn is_overloaded(&self, now: Duration) -> bool {
        let step = self.pace.step_time().unwrap_or_default();
        self.excess.is_some_and(|excess| !excess.is_over(step, now))
    }

    /// Rows that may run at once.
    pub(super) fn most_rows(&self) -> usize {
        self.starts.running.unwrap_or(usize::MAX).min(self.running.rows())
    }

    /// Seconds of one row that a call takes.
    pub(super) fn row_seconds(&self, asked: &Asked<'_>) -> f64 {
        let step = self.pace.step_time().unwrap_or_default().as_secs_f64();
        let pace = self.pace.units_per_s().filter(|_| !asked.has_target);
        let encoding = pace.map_or(0.0, |pace| asked.units() as f64 / pace * self.most_rows() as f64);
        encoding + f64::from(asked.rows) * asked.tokens * step
    }
}
