//! The schedule of an open loop: when each request is sent, as a pure function of stages, spacing and seed.
//!
//! Intervals are drawn in a time in which the rate is 1, and carried back to seconds through the integral of the rate;
//! so every spacing works with every ramp. The number of arrivals is that integral, rounded, and the draws are scaled
//! to fill it: the offered load is exactly what was asked for, and for Poisson arrivals this is the process under the
//! condition that it has so many arrivals.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Gamma};

use crate::scenario::RateStage;

/// Stream of the generator that arrivals are drawn from; requests draw from streams below it.
const STREAM: u64 = u64::MAX;

/// Times of sending, counted from the start, in their order.
pub struct Schedule {
    stages: Vec<RateStage>,
    spacing: Option<Spacing>,
    /// Arrivals that are left.
    left: u64,
    /// Sum of the intervals so far, in arrivals.
    sum: f64,
    /// Arrivals for a unit of the sum.
    scale: f64,
}

struct Spacing {
    gamma: Gamma<f64>,
    random: ChaCha8Rng,
}

impl Spacing {
    fn new(shape: f64, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(STREAM);
        Self { gamma: Gamma::new(shape, 1.0 / shape).expect("a checked shape is above 0"), random }
    }

    fn interval(&mut self) -> f64 {
        self.gamma.sample(&mut self.random)
    }
}

impl Schedule {
    /// A schedule of `stages`, with intervals of the gamma distribution of shape `gamma_shape`, or equal ones.
    pub fn new(stages: &[RateStage], gamma_shape: Option<f64>, seed: u64) -> Self {
        let total: f64 = stages.iter().map(RateStage::arrivals).sum();
        let count = total.round() as u64;
        let mut schedule = Self { stages: stages.to_vec(), spacing: None, left: count, sum: 0.0, scale: 1.0 };
        if let Some(shape) = gamma_shape {
            let mut spacing = Spacing::new(shape, seed);
            // One interval more than arrivals: the last ends with the load.
            let sum: f64 = (0..=count).map(|_| spacing.interval()).sum();
            schedule.scale = total / sum;
            schedule.spacing = Some(Spacing::new(shape, seed));
        }
        schedule
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let arrivals = match &mut self.spacing {
            Some(spacing) => {
                self.sum += spacing.interval();
                self.sum * self.scale
            }
            None => {
                self.sum += 1.0;
                self.sum - 1.0
            }
        };
        Some(time_of(&self.stages, arrivals))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl RateStage {
    /// Expected arrivals of the stage.
    fn arrivals(&self) -> f64 {
        self.seconds * (self.from + self.to) / 2.0
    }

    /// Seconds from the stage's start until so many arrivals are expected.
    fn time_of(&self, arrivals: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        // The root of slope/2 t^2 + from t = arrivals, in the form that also holds for slope 0.
        let root = (self.from * self.from + 2.0 * slope * arrivals).max(0.0).sqrt();
        let seconds = 2.0 * arrivals / (self.from + root);
        if seconds.is_finite() { seconds.min(self.seconds) } else { 0.0 }
    }
}

fn time_of(stages: &[RateStage], mut arrivals: f64) -> Duration {
    let mut start = 0.0;
    for stage in stages {
        let own = stage.arrivals();
        if arrivals < own {
            return Duration::from_secs_f64(start + stage.time_of(arrivals));
        }
        arrivals -= own;
        start += stage.seconds;
    }
    Duration::from_secs_f64(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(seconds: f64, from: f64, to: f64) -> RateStage {
        RateStage { seconds, from, to }
    }

    fn times(stages: &[RateStage], shape: Option<f64>, seed: u64) -> Vec<f64> {
        Schedule::new(stages, shape, seed).map(|time| time.as_secs_f64()).collect()
    }

    #[test]
    fn constant_arrivals_have_equal_intervals() {
        assert_eq!(times(&[stage(1.0, 4.0, 4.0)], None, 7), [0.0, 0.25, 0.5, 0.75]);
    }

    #[test]
    fn the_offered_load_is_exact_and_a_seed_repeats_it() {
        for shape in [None, Some(1.0), Some(0.2), Some(9.0)] {
            let one = times(&[stage(10.0, 20.0, 20.0)], shape, 1);
            assert_eq!(one.len(), 200);
            assert!(one.is_sorted() && *one.last().unwrap() <= 10.0);
            assert_eq!(one, times(&[stage(10.0, 20.0, 20.0)], shape, 1));
        }
        let other = times(&[stage(10.0, 20.0, 20.0)], Some(1.0), 2);
        assert_ne!(other, times(&[stage(10.0, 20.0, 20.0)], Some(1.0), 1));
    }

    #[test]
    fn a_ramp_sends_as_many_as_its_rate_asks_for_at_each_moment() {
        let ramp = [stage(10.0, 0.0, 100.0), stage(5.0, 100.0, 100.0), stage(10.0, 100.0, 0.0)];
        for shape in [None, Some(1.0)] {
            let times = times(&ramp, shape, 3);
            assert_eq!(times.len(), 1500);
            let until = |end: f64| times.iter().filter(|time| **time < end).count() as f64;
            for (end, expected) in [(5.0_f64, 125.0_f64), (10.0, 500.0), (15.0, 1000.0), (20.0, 1375.0)] {
                // Three standard deviations of a Poisson count.
                let slack = if shape.is_none() { 1.0 } else { 3.0 * expected.sqrt() };
                assert!((until(end) - expected).abs() <= slack, "{shape:?}: {} until {end}", until(end));
            }
        }
    }

    #[test]
    fn a_small_shape_makes_bursts_and_a_large_one_even_arrivals() {
        let deviation = |shape| {
            let times = times(&[stage(100.0, 100.0, 100.0)], Some(shape), 5);
            let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) * 100.0).collect();
            (gaps.iter().map(|gap| (gap - 1.0).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt()
        };
        // The deviation of a gamma distribution of mean 1 is the root of 1 over its shape.
        for shape in [0.25, 1.0, 16.0] {
            let expected = f64::sqrt(1.0 / shape);
            assert!((deviation(shape) / expected - 1.0).abs() < 0.1, "{shape}: {}", deviation(shape));
        }
    }
}
