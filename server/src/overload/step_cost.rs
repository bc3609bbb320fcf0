//! The cost of a step by its rows, and how many rows are worth running while more waits than can be done.
//!
//! A step takes a time of its own, in which the weights are read, and a time for each of its rows. The more rows there
//! are, the less another one adds to the goodput, while it makes the answers of all of them slower.

/// Share of the greatest goodput that is enough in overload. The rows beyond it would make answers up to twice as slow.
const ENOUGH: f64 = 0.975;
/// A smaller share of the rows is not enough, whatever the measured costs say: with half of them, answers take little
/// more than half of the time.
const LEAST_SHARE: f64 = 0.5;
/// Steps with a smaller share of the rows say nothing about how many are enough. The first rows of a step may each cost
/// more than the last ones.
const RELEVANT_SHARE: f64 = LEAST_SHARE / 2.0;
/// A limit of a greater share of the rows saves too little time.
const MOST_SHARE: f64 = 0.9;
/// Steps of about as many rows after which a measurement counts a third.
const MEMORY_STEPS: f64 = 32.0;
/// Numbers of rows up to the next power of two count as about as many. The last size has all greater ones.
const SIZES: usize = 14;
/// Rows of the largest steps that were seen, as a multiple of those of the smallest ones, from which on a line through
/// their times tells what a step costs of its own.
const APART: f64 = 1.5;
/// Part of a cause's square that is more than rounding, where causes after it explain the rest.
const OWN_PART: f64 = 1e-9;
/// Causes of a step's time: its own cost, its rows, its source tokens.
const CAUSES: usize = 3;

/// A step, or the mean of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSize {
    /// Rows.
    pub rows: f64,
    /// Tokens that the encoder reads beside them.
    pub source_tokens: f64,
    /// Seconds.
    pub seconds: f64,
}

/// A plane through the times of steps, by least squares. Those of a size are forgotten only for newer ones of the same
/// size, as an overload may last for longer than any memory.
#[derive(Debug, Clone, Default)]
pub struct StepFit([Sums; SIZES]);

/// Fading sums of products.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    causes: [[f64; CAUSES]; CAUSES],
    times: [f64; CAUSES],
}

impl Sums {
    /// Scales these sums and adds others.
    fn mix(&mut self, scale: f64, other: &Self) {
        for (row, other) in self.causes.iter_mut().zip(&other.causes) {
            row.iter_mut().zip(other).for_each(|(sum, other)| *sum = *sum * scale + other);
        }
        self.times.iter_mut().zip(&other.times).for_each(|(sum, other)| *sum = *sum * scale + other);
    }

    /// Mean rows, if there are any steps.
    fn rows(&self) -> Option<f64> {
        (self.causes[0][0] > 0.0).then(|| self.causes[0][1] / self.causes[0][0])
    }
}

impl StepFit {
    /// Counts a step with rows.
    pub fn count(&mut self, step: StepSize) {
        let StepSize { rows, source_tokens, seconds } = step;
        let size = ((rows as usize).max(1).next_power_of_two().ilog2() as usize).min(SIZES - 1);
        let causes = [1.0, rows, source_tokens];
        let one = Sums {
            causes: causes.map(|one| causes.map(|other| one * other)),
            times: causes.map(|cause| cause * seconds),
        };
        self.0[size].mix((-1.0 / MEMORY_STEPS).exp(), &one);
    }

    /// Seconds that a step takes of its own, by those of at least so many rows; `None` unless these differ much.
    fn own_seconds(&self, least: f64) -> Option<f64> {
        let seen = || self.0.iter().filter_map(|sums| Some((sums.rows()?, sums))).filter(|(rows, _)| *rows >= least);
        let (fewest, most) = (seen().next()?.0, seen().next_back()?.0);
        if most < APART * fewest {
            return None;
        }
        let mut all = Sums::default();
        seen().for_each(|(_, sums)| all.mix(1.0, sums));
        Some(first_unknown(all))
    }
}

/// The first unknown of a system of equations that is symmetric and never negative, by Gaussian elimination from the
/// last one. What nothing depends on counts as 0, and so does what depends on the causes before it alone.
fn first_unknown(Sums { causes, times: mut right }: Sums) -> f64 {
    let mut matrix = causes;
    for pivot in (1..CAUSES).rev() {
        if matrix[pivot][pivot] <= OWN_PART * causes[pivot][pivot] {
            continue;
        }
        for row in 0..pivot {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            (0..pivot).for_each(|column| matrix[row][column] -= factor * matrix[pivot][column]);
            right[row] -= factor * right[pivot];
        }
    }
    right[0] / matrix[0][0]
}

/// The cost of a step, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepCost {
    /// The part that does not depend on its rows.
    pub own: f64,
    /// The part of each row, and of what comes with it in the encoder.
    pub row: f64,
}

impl StepCost {
    /// The cost at which full steps take as long as they do; `None` while it is not known. Of the steps that were seen,
    /// those of at least so many rows count.
    pub fn of(fit: &StepFit, full: StepSize, least: f64) -> Option<Self> {
        let own = fit.own_seconds(least)?.clamp(0.0, full.seconds);
        Some(Self { own, row: (full.seconds - own) / full.rows })
    }

    /// The fewest rows of steps that say how many of `all` are enough.
    pub fn least_relevant(all: usize) -> f64 {
        RELEVANT_SHARE * all as f64
    }

    /// Seconds of a step of so many rows.
    pub fn seconds(self, rows: f64) -> f64 {
        self.own + self.row * rows
    }

    /// The number of rows with which the goodput is nearly that of `all`; `all` of them if fewer would save little
    /// time.
    pub fn enough_rows(self, all: usize) -> usize {
        let most = all as f64;
        // So many rows give rows / seconds(rows) tokens a second: solved for that share of what all rows give.
        let rows = ENOUGH * most * self.own / (self.own + (1.0 - ENOUGH) * most * self.row);
        let rows = if rows.is_finite() { rows.max(LEAST_SHARE * most) } else { most };
        if rows > MOST_SHARE * most { all } else { (rows.ceil() as usize).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_rows_give_nearly_the_goodput_of_all_in_less_time() {
        // A step of 64 rows takes 2.5 times as long as one of 20.
        let cost = StepCost { own: 0.005, row: 0.00054 };
        let goodput = |rows: usize| rows as f64 / cost.seconds(rows as f64);
        let rows = cost.enough_rows(64);
        assert!((40..56).contains(&rows), "{rows}");
        assert!(goodput(rows) >= ENOUGH * goodput(64) && goodput(rows - 1) < ENOUGH * goodput(64), "{rows}");
    }

    #[test]
    fn rows_that_cost_next_to_nothing_are_all_run_and_some_are_run_whatever_they_cost() {
        assert_eq!(StepCost { own: 0.005, row: 0.000_001 }.enough_rows(64), 64);
        assert_eq!(StepCost { own: 0.005, row: 0.0005 }.enough_rows(4), 4);
        assert_eq!(StepCost { own: 0.0, row: 0.001 }.enough_rows(64), 32);
        assert_eq!(StepCost { own: 0.0, row: 0.0 }.enough_rows(64), 64);
        assert_eq!(StepCost { own: 0.0, row: 1.0 }.enough_rows(1), 1);
    }

    /// A step that takes 5 ms, and 0.5 ms for each row and 0.1 ms for each source token.
    fn step(rows: f64, source_tokens: f64) -> StepSize {
        StepSize { rows, source_tokens, seconds: 0.005 + 0.0005 * rows + 0.0001 * source_tokens }
    }

    #[test]
    fn the_cost_is_that_of_the_steps_that_were_seen_however_long_ago_those_of_few_rows_were() {
        let mut fit = StepFit::default();
        let full = StepSize { rows: 60.0, source_tokens: 128.0, seconds: 0.0478 };
        assert_eq!(StepCost::of(&fit, full, 0.0), None);
        (0..100_000).for_each(|number| fit.count(step(60.0, f64::from(number % 3) * 64.0)));
        assert_eq!(StepCost::of(&fit, full, 0.0), None, "all have about as many rows");
        [1.0, 2.0, 9.0].into_iter().for_each(|rows| fit.count(step(rows, 64.0)));
        (0..100_000).for_each(|number| fit.count(step(60.0, f64::from(number % 3) * 64.0)));
        let cost = StepCost::of(&fit, full, 0.0).unwrap();
        assert!((cost.own - 0.005).abs() < 1e-9, "{cost:?}");
        assert!((cost.seconds(60.0) - full.seconds).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn the_cost_is_known_where_source_tokens_come_with_rows() {
        let mut fit = StepFit::default();
        for number in 0..10_000 {
            let rows = 1.0 + f64::from(number % 60);
            fit.count(step(rows, rows * 0.3));
        }
        let cost = StepCost::of(&fit, step(60.0, 18.0), 0.0).unwrap();
        assert!((cost.own - 0.005).abs() < 1e-6, "{cost:?}");
    }

    #[test]
    fn the_cost_is_known_without_any_encoder_work_and_never_more_than_a_full_step() {
        let mut fit = StepFit::default();
        [1.0, 30.0, 60.0].into_iter().for_each(|rows| fit.count(step(rows, 0.0)));
        let full = StepSize { rows: 60.0, source_tokens: 0.0, seconds: 0.035 };
        let cost = StepCost::of(&fit, full, 0.0).unwrap();
        assert!((cost.own - 0.005).abs() < 1e-9 && (cost.row - 0.0005).abs() < 1e-9, "{cost:?}");
        let quick = StepCost::of(&fit, StepSize { seconds: 0.004, ..full }, 0.0).unwrap();
        assert_eq!((quick.own, quick.row), (0.004, 0.0));
    }

    #[test]
    fn steps_of_few_rows_do_not_count_where_it_is_asked_how_many_are_enough() {
        let mut fit = StepFit::default();
        // The first rows of a step cost more than the last ones.
        let step = |rows: f64| StepSize { rows, source_tokens: 0.0, seconds: 0.0055 * rows.powf(0.79) };
        (1..=64).for_each(|rows| fit.count(step(f64::from(rows))));
        let enough = |least| StepCost::of(&fit, step(64.0), least).unwrap().enough_rows(64);
        assert!((45..=60).contains(&enough(StepCost::least_relevant(64))), "{}", enough(StepCost::least_relevant(64)));
        assert!(StepCost::of(&fit, step(64.0), 40.0).is_none(), "these differ too little");
    }
}
