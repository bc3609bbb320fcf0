//! The spread of a time: mean, deviation and percentiles, in bounded memory.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time that is told apart, in microseconds: a month.
const MOST_MICROS: u64 = 31 * 24 * 3600 * 1_000_000;
/// Decimal digits of percentiles that are exact.
const DIGITS: u8 = 3;

/// Times of one kind.
#[derive(Debug, Clone)]
pub struct Spread {
    histogram: Histogram<u64>,
    count: u64,
    mean: f64,
    /// Sum of squared distances from the mean, by Welford's method.
    squares: f64,
}

impl Default for Spread {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MOST_MICROS, DIGITS).expect("the bounds are in order");
        Self { histogram, count: 0, mean: 0.0, squares: 0.0 }
    }
}

impl Spread {
    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from((time.as_nanos() + 500) / 1000).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros);
        let time_ms = time.as_secs_f64() * 1000.0;
        self.count += 1;
        let distance = time_ms - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (time_ms - self.mean);
    }

    /// Number of times.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean in milliseconds; 0 without a time.
    pub fn mean_ms(&self) -> f64 {
        self.mean
    }

    /// Standard deviation in milliseconds; 0 without a time.
    pub fn std_ms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// Percentile in milliseconds: the time that so many of a hundred do not exceed; 0 without a time.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        if self.count == 0 { 0.0 } else { self.histogram.value_at_percentile(percent) as f64 / 1000.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_deviation_and_percentiles_are_those_of_the_times() {
        let mut spread = Spread::default();
        for time in 1..=1000 {
            spread.add(Duration::from_millis(time));
        }
        assert!((spread.mean_ms() - 500.5).abs() < 1e-9);
        assert!((spread.std_ms() - 288.675).abs() < 1e-3);
        for (percent, expected) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0), (99.9, 999.0)] {
            let percentile = spread.percentile_ms(percent);
            // A rank between two times may be taken for either.
            assert!((percentile / expected - 1.0).abs() < 2e-3, "p{percent}: {percentile}");
        }
    }

    #[test]
    fn no_time_and_an_endless_one_are_figures_too() {
        let mut spread = Spread::default();
        assert_eq!((spread.mean_ms(), spread.std_ms(), spread.percentile_ms(99.0)), (0.0, 0.0, 0.0));
        spread.add(Duration::MAX);
        assert!(spread.percentile_ms(50.0).is_finite());
    }
}
