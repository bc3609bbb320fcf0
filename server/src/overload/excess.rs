//! A stretch of overload: begins with a refusal, and ends when the rows that were free could have done what was
//! refused, or nobody was refused for a while.

use std::time::Duration;

/// Time without a refusal after which overload is over, and the least time before it is over otherwise. Refused calls
/// with as much work make it no burst.
const CALM: Duration = Duration::from_secs(1);
/// More work than all rows do in this time is not remembered, so that overload ends soon after the flood.
const MOST_S: f64 = 2.0;
/// Calls that are remembered, however long each takes.
const MOST_CALLS: f64 = 4.0;

/// More calls than can be answered. Work is in seconds of one row.
#[derive(Debug, Clone, Copy)]
pub struct Excess {
    /// Its first refusal, and its last one.
    first: Duration,
    last: Duration,
    /// Refused work that the rows which were free since then could not have done.
    refused: f64,
    /// The latest time between two steps, and the work of steps since then.
    between: Duration,
    used: f64,
    /// Whether the calls that would wait for long have left the queue.
    pub is_short: bool,
}

impl Excess {
    /// Nothing was refused before.
    pub const fn new(now: Duration) -> Self {
        Self { first: now, last: now, refused: 0.0, between: now, used: 0.0, is_short: false }
    }

    /// A call was refused that would take so many seconds of one of `rows`.
    pub const fn refuse(&mut self, seconds: f64, rows: usize, now: Duration) {
        self.last = now;
        let most = (rows as f64 * MOST_S).max(MOST_CALLS * seconds);
        self.refused = (self.refused + seconds).min(most);
    }

    /// A step was run that left no time for more than so many rows.
    pub fn step(&mut self, rows: usize, time: Duration) {
        self.used += rows as f64 * time.as_secs_f64();
    }

    /// No step runs, and `rows` could have run since the latest time that none did.
    pub fn settle(&mut self, rows: usize, now: Duration) {
        let all = rows as f64 * now.saturating_sub(self.between).as_secs_f64();
        // More rows than these may have run.
        let free = (all - self.used).max(0.0);
        self.refused = (self.refused - free).max(0.0);
        (self.between, self.used) = (now, 0.0);
    }

    /// Whether so much was refused that it is no burst.
    pub fn is_flood(&self, rows: usize) -> bool {
        self.refused >= rows as f64 * CALM.as_secs_f64()
    }

    /// Whether it is over, where full steps take so long.
    pub fn is_over(&self, step: Duration, now: Duration) -> bool {
        // Where steps are long, calls are refused less often.
        let calm = CALM.max(step * 4);
        let since = |time: Duration| now.saturating_sub(time);
        // A few rows refuse some calls by chance when only so many may wait, though all could be answered in time.
        since(self.last) >= calm || since(self.first) >= calm && self.refused <= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    /// An excess after some seconds of four rows, of which `used` run in each step, while work for `refused` more is
    /// turned away.
    fn after(mut excess: Excess, seconds: u32, used: usize, refused: f64) -> (Excess, Duration) {
        let mut now = excess.last;
        for _ in 0..seconds * 100 {
            excess.settle(4, now);
            excess.refuse(refused * STEP.as_secs_f64(), 4, now);
            now += STEP;
            excess.step(used, STEP);
        }
        excess.settle(4, now);
        (excess, now)
    }

    #[test]
    fn it_lasts_while_more_is_asked_for_than_can_be_done_and_ends_although_calls_are_refused_by_chance() {
        let new = Excess::new(Duration::ZERO);
        let (more, now) = after(new, 30, 3, 1.5);
        assert!(!more.is_over(STEP, now) && more.is_flood(4));
        let (less, now) = after(new, 30, 3, 0.5);
        assert!(less.is_over(STEP, now) && !less.is_flood(4));
        assert!(!less.is_over(STEP, Duration::from_millis(900)), "not before it is known what is asked for");
    }

    #[test]
    fn rows_that_ran_beyond_a_limit_are_no_refusals() {
        let (mut excess, now) = after(Excess::new(Duration::ZERO), 10, 4, 0.5);
        let refused = excess.refused;
        excess.step(4, CALM);
        excess.settle(2, now + CALM);
        assert!(excess.refused <= refused, "{refused} {}", excess.refused);
    }

    #[test]
    fn it_ends_soon_after_a_flood_and_when_nobody_is_refused() {
        let (flood, now) = after(Excess::new(Duration::ZERO), 60, 4, 40.0);
        assert!(!flood.is_over(STEP, now) && flood.is_over(STEP, now + CALM));
        let (after, now) = after(flood, 20, 3, 0.5);
        assert!(after.is_over(STEP, now), "two seconds of work are more than was free in sixteen");
    }

    #[test]
    fn of_calls_that_take_long_some_are_remembered() {
        let mut excess = Excess::new(Duration::ZERO);
        (0..10).for_each(|_| excess.refuse(60.0, 4, Duration::ZERO));
        excess.settle(4, Duration::from_secs(59));
        assert!(!excess.is_over(Duration::from_secs(15), Duration::from_secs(59)));
        excess.settle(4, Duration::from_secs(60));
        assert!(excess.is_over(Duration::from_secs(15), Duration::from_secs(60)));
    }
}
