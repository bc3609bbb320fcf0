//! Steps that a row runs for. Those of an answer are fewer than its tokens where tokens were drafted, forced or scored.

/// Ended rows after which a measurement counts a third.
const MEMORY_ROWS: f64 = 128.0;

/// Steps of rows, and rows that ended. Old ones fade.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowSteps {
    steps: f64,
    ended: f64,
}

impl RowSteps {
    /// A step was run while so many rows ran.
    pub fn step(&mut self, running: usize) {
        self.steps += running as f64;
    }

    /// So many rows ran, of which so many are left. More are left where preempted ones run again: these ended when they
    /// were preempted, and have not ended after all.
    pub fn left(&mut self, before: usize, after: usize) {
        let ended = before as f64 - after as f64;
        let fading = (-ended.max(0.0) / MEMORY_ROWS).exp();
        self.steps *= fading;
        self.ended = (self.ended + ended).max(0.0) * fading;
    }

    /// Steps of a row, on average; `None` until one has ended.
    pub fn mean(&self) -> Option<f64> {
        (self.ended >= 0.5).then(|| self.steps / self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_the_latest_rows_whoever_was_preempted() {
        let mut steps = RowSteps::default();
        let mut rows = |count: usize, each: usize, is_preempted: bool| {
            for _ in 0..count {
                (0..each).for_each(|_| steps.step(1));
                if is_preempted {
                    steps.left(1, 0);
                    steps.left(0, 1);
                }
                steps.left(1, 0);
            }
            steps.mean().unwrap()
        };
        assert!((rows(1, 7, false) - 7.0).abs() < 1e-9);
        assert!((rows(2000, 7, true) - 7.0).abs() < 0.1);
        assert!((rows(2000, 32, false) - 32.0).abs() < 0.3);
        assert_eq!(RowSteps::default().mean(), None);
    }
}
