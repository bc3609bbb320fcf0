//! The rows that run: how many are free, and when the others will be.

/// Rows of a step, as the engine tells them after it. Idle sequences give way, so theirs count as free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsTaken {
    /// Rows that run at once.
    pub rows: usize,
    /// Whether an interactive sequence could not begin, for lack of rows or pages.
    pub is_blocked: bool,
}

/// Rows as the latest step left them.
#[derive(Debug, Clone, Default)]
pub struct RunningRows {
    rows: usize,
    free: usize,
    /// Most tokens that each of the others may still get, fewest first.
    left: Vec<u32>,
    is_known: bool,
}

impl RunningRows {
    /// After a step; `left` are the tokens that each running row may still get.
    pub fn update(&mut self, taken: RowsTaken, left: impl Iterator<Item = u32>) {
        self.left.clear();
        self.left.extend(left);
        self.left.sort_unstable();
        self.free = if taken.is_blocked { 0 } else { taken.rows.saturating_sub(self.left.len()) };
        (self.rows, self.is_known) = (taken.rows, true);
    }

    /// Rows that run at once.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Whether anything was told.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Most tokens that any of them may still get.
    pub fn most_left(&self) -> u32 {
        self.left.last().copied().unwrap_or_default()
    }

    /// Steps until so many rows and one more have been free, if `share` of the tokens that are asked for come: 0 if
    /// they are free now, `None` if all that run have to end before.
    pub fn steps_until_free(&self, rows: usize, share: f64) -> Option<f64> {
        match rows.checked_sub(self.free) {
            None => Some(0.0),
            Some(place) => self.left.get(place).map(|&left| f64::from(left) * share),
        }
    }

    /// Number of rows that are free or will be within so many steps.
    pub fn free_within(&self, steps: f64, share: f64) -> usize {
        self.free + self.left.partition_point(|&left| f64::from(left) * share <= steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_row_is_free_when_the_shortest_rest_is_done() {
        let mut rows = RunningRows::default();
        rows.update(RowsTaken { rows: 4, is_blocked: false }, [30, 10, 20].into_iter());
        assert_eq!([0, 1, 2, 3].map(|ahead| rows.steps_until_free(ahead, 1.0)), [0.0, 10.0, 20.0, 30.0].map(Some));
        assert_eq!(rows.steps_until_free(4, 1.0), None);
        assert_eq!(rows.steps_until_free(2, 0.5), Some(10.0));
        assert_eq!([9.0, 10.0, 25.0, 40.0].map(|steps| rows.free_within(steps, 1.0)), [1, 2, 3, 4]);
    }

    #[test]
    fn rows_without_pages_are_not_free() {
        let mut rows = RunningRows::default();
        rows.update(RowsTaken { rows: 4, is_blocked: true }, [5].into_iter());
        assert_eq!((rows.steps_until_free(0, 1.0), rows.steps_until_free(1, 1.0)), (Some(5.0), None));
    }
}
