//! Sequences that begin with a step: in overload about as many as end with one, and only while no more rows run than
//! are worth it.

/// Sequences that begin in a step in overload, as a multiple of those that end in one. Rows that are freed together are
/// not taken together, or they would be freed together for ever, and who comes in between would wait for all of them.
const STARTS: f64 = 1.25;

/// Limits of the sequences that begin with the step that is to be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLimits {
    /// Rows that sequences may begin with, or one sequence that has more.
    pub begin: usize,
    /// Rows that may run at once then.
    pub running: usize,
}

impl Default for StartLimits {
    /// No limits.
    fn default() -> Self {
        Self { begin: usize::MAX, running: usize::MAX }
    }
}

/// Rows that may begin, from step to step.
#[derive(Debug, Clone, Copy, Default)]
pub struct EvenStarts {
    /// Rows that may run at once; any number when absent.
    pub running: Option<usize>,
    /// Rows that may begin with each step; any number when absent.
    per_step: Option<f64>,
    /// Rows that may begin with the next one; below 0 when a sequence of several rows has taken more.
    left: f64,
}

impl EvenStarts {
    /// So many rows run, each for so many steps; any number begins if that is not known.
    pub fn set(&mut self, rows: usize, steps: Option<f64>) {
        let steps = steps.filter(|steps| *steps > 0.0 && rows > 0);
        let per_step = steps.map(|steps| STARTS * rows as f64 / steps);
        if let (None, Some(per_step)) = (self.per_step, per_step) {
            self.left = per_step.max(1.0);
        }
        self.per_step = per_step;
    }

    /// A step was run. What it left over the next one may use.
    pub fn step(&mut self) {
        if let Some(per_step) = self.per_step {
            self.left = (self.left + per_step).min(2.0 * per_step.max(1.0));
        }
    }

    /// Sequences began with so many rows, of which at most `most_early` count as those of later steps.
    pub fn begun(&mut self, rows: usize, most_early: usize) {
        if self.per_step.is_some() {
            self.left = (self.left - rows as f64).max(-(most_early as f64));
        }
    }

    /// The limits now.
    pub fn limits(&self) -> StartLimits {
        let none = StartLimits::default();
        StartLimits {
            begin: self.per_step.map_or(none.begin, |_| self.left.max(0.0) as usize),
            running: self.running.unwrap_or(none.running),
        }
    }

    /// Steps in which so many rows begin, after those that began too early.
    pub fn steps_of(&self, rows: usize) -> f64 {
        let early = (-self.left).max(0.0);
        self.per_step.map_or(0.0, |per_step| (rows as f64 + early) / per_step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that begin in so many steps if all that may do.
    fn begun_in(starts: &mut EvenStarts, steps: usize) -> usize {
        let begin = |_| {
            let begin = starts.limits().begin;
            starts.begun(begin, 0);
            starts.step();
            begin
        };
        (0..steps).map(begin).sum()
    }

    #[test]
    fn somewhat_more_sequences_begin_than_end() {
        let mut starts = EvenStarts::default();
        assert_eq!(starts.limits(), StartLimits::default());
        starts.set(64, Some(32.0));
        assert!((249..=252).contains(&begun_in(&mut starts, 100)));
        starts.set(64, Some(640.0));
        assert!((11..=14).contains(&begun_in(&mut starts, 100)));
        assert_eq!(EvenStarts::default().limits(), StartLimits::default());
    }

    #[test]
    fn what_may_begin_and_does_not_may_begin_later_but_not_all_at_once() {
        let mut starts = EvenStarts::default();
        starts.set(64, Some(64.0));
        let before = starts.limits().begin;
        assert_eq!((before, starts.limits().begin), (1, 1), "asking takes nothing");
        (0..100).for_each(|_| starts.step());
        assert_eq!(starts.limits().begin, 2);
        starts.begun(10, 64);
        assert_eq!(starts.limits().begin, 0, "a wide sequence has taken the starts of others");
        (0..10).for_each(|_| starts.step());
        assert_eq!(starts.limits().begin, 2);
    }

    #[test]
    fn wide_sequences_delay_others_until_as_many_rows_as_there_are_have_begun() {
        let mut starts = EvenStarts::default();
        starts.set(10, Some(12.5));
        (0..5).for_each(|_| starts.begun(10, 10));
        assert!((9.0..=10.0).contains(&starts.steps_of(0)), "{}", starts.steps_of(0));
        assert!((12.0..=13.0).contains(&starts.steps_of(3)), "{}", starts.steps_of(3));
        (0..11).for_each(|_| starts.step());
        assert_eq!((starts.limits().begin, starts.steps_of(0)), (1, 0.0));
    }
}
