//! The search for the highest rate that a server keeps up with: pure, so that it can be tested without time.

use crate::scenario::Sweep;

/// A search: rates rise by a factor until one is missed, and then halve the gap.
#[derive(Debug, Clone)]
pub struct Search {
    sweep: Sweep,
    steps: usize,
    kept: Option<f64>,
    missed: Option<f64>,
    refined: usize,
}

impl Search {
    /// A search that has tried nothing.
    pub fn new(sweep: Sweep) -> Self {
        Self { sweep, steps: 0, kept: None, missed: None, refined: 0 }
    }

    /// The rate to try next, in requests per second; none when the search is over.
    pub fn next_rate(&mut self) -> Option<f64> {
        if self.steps == self.sweep.most_steps {
            return None;
        }
        self.steps += 1;
        match (self.kept, self.missed) {
            (None, None) => Some(self.sweep.from),
            (Some(kept), None) => Some(kept * self.sweep.factor),
            // Even the first rate was too much.
            (None, Some(_)) => None,
            (Some(kept), Some(missed)) => {
                self.refined += 1;
                (self.refined <= self.sweep.refine).then_some(f64::midpoint(kept, missed))
            }
        }
    }

    /// Takes what came of a rate: the share of its requests that were answered in time.
    pub fn take(&mut self, rate: f64, share: f64) {
        let end = if share >= self.sweep.least_share { &mut self.kept } else { &mut self.missed };
        *end = Some(rate);
    }

    /// The highest rate that was kept.
    pub fn highest_kept(&self) -> Option<f64> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(capacity: f64, sweep: Sweep) -> (Vec<f64>, Option<f64>) {
        let mut search = Search::new(sweep);
        let mut tried = Vec::new();
        while let Some(rate) = search.next_rate() {
            tried.push(rate);
            search.take(rate, if rate <= capacity { 1.0 } else { 0.5 });
        }
        (tried, search.highest_kept())
    }

    #[test]
    fn rates_double_until_one_is_missed_and_then_halve_the_gap() {
        let sweep = Sweep { from: 1.0, factor: 2.0, refine: 3, ..Sweep::default() };
        assert_eq!(tried(5.2, sweep), (vec![1.0, 2.0, 4.0, 8.0, 6.0, 5.0, 5.5], Some(5.0)));
    }

    #[test]
    fn a_search_ends_when_nothing_or_everything_is_kept() {
        assert_eq!(tried(0.1, Sweep::default()), (vec![1.0], None));
        let sweep = Sweep { most_steps: 3, ..Sweep::default() };
        assert_eq!(tried(1e9, sweep), (vec![1.0, 2.0, 4.0], Some(4.0)));
    }
}
