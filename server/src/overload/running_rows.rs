//! The rows that run: how many are free, and when the others will be.

/// Rows of a step, as the engine tells them after it. Idle sequences give way, so theirs count as free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsTaken {
    /// Rows that run at once.
    pub rows: usize,
    /// Whether an interactive sequence could not begin, for lack of rows or pages; `None` where none was to begin yet.
    pub is_blocked: Option<bool>,
}

/// Rows as the latest step left them.
#[derive(Debug, Clone, Default)]
pub struct RunningRows {
    rows: usize,
    is_blocked: bool,
    /// Most tokens that each of those that run may still get, fewest first.
    left: Vec<u32>,
    /// Rows that began since then.
    begun: usize,
    is_known: bool,
}

impl RunningRows {
    /// After a step; `left` are the tokens that each running row may still get.
    pub fn update(&mut self, taken: RowsTaken, left: impl Iterator<Item = u32>) {
        self.left.clear();
        self.left.extend(left);
        self.left.sort_unstable();
        (self.rows, self.is_known) = (taken.rows, true);
        self.is_blocked = taken.is_blocked.unwrap_or(self.is_blocked);
        self.begun = 0;
    }

    /// Sequences began with so many rows.
    pub const fn begin(&mut self, rows: usize) {
        self.begun += rows;
    }

    /// Rows that run at once.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that run.
    pub fn running(&self) -> usize {
        self.left.len() + self.begun
    }

    /// Whether an interactive sequence could not begin, for lack of rows or pages, when one was last to begin.
    pub const fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Whether anything was told.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Most tokens that any of them may still get.
    pub fn most_left(&self) -> u32 {
        self.left.last().copied().unwrap_or_default()
    }

    /// The rows, as far as `most` of them may run and a `share` of the tokens that are asked for comes.
    pub fn within(&self, most: Option<usize>, share: f64) -> RowsWithin<'_> {
        let most = most.unwrap_or(self.rows).min(self.rows);
        let free = if self.is_blocked { 0 } else { most.saturating_sub(self.left.len()) };
        RowsWithin { left: &self.left, free, over: self.left.len().saturating_sub(most), share }
    }
}

/// Rows as the latest step left them, under a limit.
#[derive(Debug, Clone, Copy)]
pub struct RowsWithin<'a> {
    left: &'a [u32],
    free: usize,
    /// Rows that run and are more than may run, which nobody gets when they end.
    over: usize,
    share: f64,
}

impl RowsWithin<'_> {
    /// Steps until so many rows and one more have been free: 0 if they are free now, `None` if all that run have to
    /// end before.
    pub fn steps_until_free(self, rows: usize) -> Option<f64> {
        match rows.checked_sub(self.free) {
            None => Some(0.0),
            Some(place) => self.left.get(place + self.over).map(|&left| f64::from(left) * self.share),
        }
    }

    /// Number of rows that are free or will be within so many steps.
    pub fn free_within(self, steps: f64) -> usize {
        let ended = self.left.partition_point(|&left| f64::from(left) * self.share <= steps);
        self.free + ended.saturating_sub(self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(is_blocked: bool, left: &[u32]) -> RunningRows {
        let mut rows = RunningRows::default();
        rows.update(RowsTaken { rows: 4, is_blocked: Some(is_blocked) }, left.iter().copied());
        rows
    }

    #[test]
    fn the_next_row_is_free_when_the_shortest_rest_is_done() {
        let rows = rows(false, &[30, 10, 20]);
        let all = rows.within(None, 1.0);
        assert_eq!([0, 1, 2, 3].map(|ahead| all.steps_until_free(ahead)), [0.0, 10.0, 20.0, 30.0].map(Some));
        assert_eq!(all.steps_until_free(4), None);
        assert_eq!(rows.within(None, 0.5).steps_until_free(2), Some(10.0));
        assert_eq!([9.0, 10.0, 25.0, 40.0].map(|steps| all.free_within(steps)), [1, 2, 3, 4]);
    }

    #[test]
    fn rows_without_pages_are_not_free() {
        let rows = rows(true, &[5]);
        let all = rows.within(None, 1.0);
        assert_eq!((all.steps_until_free(0), all.steps_until_free(1)), (Some(5.0), None));
    }

    #[test]
    fn rows_stay_without_pages_while_nobody_is_to_begin() {
        let mut rows = rows(true, &[5]);
        let mut update = |is_blocked| {
            rows.update(RowsTaken { rows: 4, is_blocked }, std::iter::empty());
            rows.within(None, 1.0).steps_until_free(0)
        };
        assert_eq!((update(None), update(Some(false)), update(None)), (None, Some(0.0), Some(0.0)));
    }

    #[test]
    fn of_rows_beyond_a_limit_those_that_end_first_are_nobodys() {
        let rows = rows(false, &[30, 10, 20]);
        let two = rows.within(Some(2), 1.0);
        assert_eq!([0, 1, 2].map(|ahead| two.steps_until_free(ahead)), [Some(20.0), Some(30.0), None]);
        assert_eq!([9.0, 10.0, 25.0, 40.0].map(|steps| two.free_within(steps)), [0, 0, 1, 2]);
        assert_eq!(rows.within(Some(9), 1.0).free_within(0.0), 1, "no limit is above the rows that there are");
    }
}
