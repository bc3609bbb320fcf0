//! Bounds of the histograms' buckets.
//!
//! Used by `telemetry`. A quantile taken from them may be off by as much as a bucket is wide. Steps of one load differ
//! little, so their buckets are narrow.

use std::ops::Range;

/// Preferred numbers (ISO 3), twenty to a decade.
const FINE: &[&str] = &[
    "1", "1.12", "1.25", "1.4", "1.6", "1.8", "2", "2.24", "2.5", "2.8", "3.15", "3.55", "4", "4.5", "5", "5.6", "6.3",
    "7.1", "8", "9",
];
/// Every second one of them.
const COARSE: &[&str] = &["1", "1.25", "1.6", "2", "2.5", "3.15", "4", "5", "6.3", "8"];
/// Tokenising is microseconds for a sentence.
pub const TOKENIZE_SECONDS: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
/// Rows of one decode step.
pub const STEP_ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Steps of the engine, and what lies between two tokens: a small model's on a GPU take a tenth of a millisecond.
pub fn step_seconds() -> Vec<f64> {
    decades(FINE, -4..1)
}

/// Steps of the engine, where there are many distributions of them.
pub fn coarse_step_seconds() -> Vec<f64> {
    decades(COARSE, -4..1)
}

/// Masks of what may come next: some ten microseconds for most tokens, tens of milliseconds at the limits of a grammar.
pub fn mask_seconds() -> Vec<f64> {
    decades(FINE, -5..0)
}

/// Time to the first token: a tiny model on a warm cache takes a millisecond, a long queue minutes.
pub fn first_token_seconds() -> Vec<f64> {
    decades(FINE, -3..3)
}

/// Forms of answers: milliseconds for what people write, seconds for what is refused.
pub fn form_seconds() -> Vec<f64> {
    decades(COARSE, -4..2)
}

/// Whole requests.
pub fn request_seconds() -> Vec<f64> {
    decades(COARSE, -3..3)
}

/// Time in the queue: nothing where rows are free, minutes where they are not.
pub fn queue_seconds() -> Vec<f64> {
    decades(COARSE, -4..3)
}

/// Tokens of a source or a target, up to the most that settings allow.
pub fn lengths() -> Vec<f64> {
    (0..=20).map(|power| f64::from(1_u32 << power)).collect()
}

/// From the first of these powers of ten to the one after the last, in steps within each.
fn decades(steps: &[&str], powers: Range<i32>) -> Vec<f64> {
    // Read as decimals, so that their names are short.
    let bound = |step: &str, power: i32| format!("{step}e{power}").parse().expect("digits and a power of ten");
    let end = bound("1", powers.end);
    powers.flat_map(|power| steps.iter().map(move |step| bound(step, power))).chain([end]).collect()
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, core::Metric};

    use super::*;

    #[test]
    fn bounds_of_times_grow_evenly_and_have_short_names() {
        let fine = [step_seconds(), first_token_seconds(), mask_seconds()].map(|bounds| (bounds, 1.1..1.15));
        let coarse = [request_seconds(), queue_seconds()].map(|bounds| (bounds, 1.2..1.3));
        for (bounds, steps) in fine.into_iter().chain(coarse) {
            for pair in bounds.windows(2) {
                assert!(steps.contains(&(pair[1] / pair[0])), "{pair:?}");
            }
            assert!(bounds.iter().all(|bound| bound.to_string().len() <= 9), "{bounds:?}");
        }
        assert_eq!((step_seconds()[0], step_seconds().last().copied()), (0.0001, Some(10.0)));
        assert_eq!((first_token_seconds()[0], first_token_seconds().last().copied()), (0.001, Some(1000.0)));
    }

    /// Prometheus' `histogram_quantile`: interpolates along a line through the bucket that holds the quantile.
    fn estimated(bounds: &[f64], samples: &[f64], quantile: f64) -> f64 {
        let histogram = Histogram::with_opts(HistogramOpts::new("times", "help").buckets(bounds.to_vec())).unwrap();
        samples.iter().for_each(|sample| histogram.observe(*sample));
        let metric = histogram.metric();
        let rank = quantile * samples.len() as f64;
        let (mut below, mut count_below) = (0.0, 0.0);
        for bucket in metric.get_histogram().get_bucket() {
            let (bound, count) = (bucket.upper_bound(), bucket.cumulative_count() as f64);
            if count >= rank {
                return below + (bound - below) * (rank - count_below) / (count - count_below);
            }
            (below, count_below) = (bound, count);
        }
        below
    }

    fn exact(samples: &[f64], quantile: f64) -> f64 {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[((quantile * sorted.len() as f64).ceil() as usize).max(1) - 1]
    }

    #[test]
    fn quantiles_from_the_buckets_are_within_a_tenth_of_those_of_the_times_themselves() {
        // Evenly spread ranks through the inverse of a distribution's share: no luck is involved.
        let ranks: Vec<f64> = (0..10_000).map(|index| (f64::from(index) + 0.5) / 1e4).collect();
        let of = |inverse: &dyn Fn(f64) -> f64| ranks.iter().map(|rank| inverse(*rank)).collect::<Vec<_>>();
        let spreads = [
            ("all but equal", of(&|rank| 0.00202 + 0.00006 * rank)),
            ("evenly spread", of(&|rank| 0.0011 + 0.004 * rank)),
            ("exponential", of(&|rank| 0.0003 - 0.003 * (1.0 - rank).ln())),
            ("logistic in the logarithm", of(&|rank| 0.0072 * (rank / (1.0 - rank)).powf(0.2))),
            ("steps with pauses for encoders", of(&|rank| if rank < 0.8 { 0.004 + 0.002 * rank } else { 0.04 * rank })),
        ];
        for bounds in [step_seconds(), first_token_seconds()] {
            for (name, samples) in &spreads {
                for quantile in [0.25, 0.5, 0.75, 0.9, 0.95, 0.99] {
                    let (exact, estimated) = (exact(samples, quantile), estimated(&bounds, samples, quantile));
                    let error = estimated / exact - 1.0;
                    assert!(error.abs() < 0.1, "{name}, {quantile}: {exact} is taken for {estimated}");
                }
            }
        }
    }
}
