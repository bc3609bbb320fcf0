//! Loss spikes: losses so far above the recent ones that their steps are skipped.
//!
//! Called by `run`, saved by `state`.

use serde::{Deserialize, Serialize};

/// Number of steps in the moving mean.
const WINDOW_STEPS: u64 = 32;

/// The recent mean of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize)]
pub struct RecentLoss {
    /// The mean. It is float32, so that its few digits in JSON restore it to the bit.
    mean: f32,
    steps: u64,
}

impl RecentLoss {
    /// Whether a step's loss is more than `factor` times the mean of those before it (never if `factor` is 0). Adds the
    /// loss to the mean, clipped to that threshold: a single spike does not spoil the mean, and if the loss stays high,
    /// the mean rises until training continues.
    pub fn is_spike(&mut self, loss: f64, factor: f64) -> bool {
        let limit = if factor > 0.0 && self.steps > 0 { factor * f64::from(self.mean) } else { f64::INFINITY };
        self.steps += 1;
        let share = 1.0 / self.steps.min(WINDOW_STEPS) as f64;
        self.mean += ((loss.min(limit) - f64::from(self.mean)) * share) as f32;
        loss > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loss_far_above_the_recent_ones_is_a_spike() {
        let mut recent = RecentLoss::default();
        assert!(!recent.is_spike(4.0, 2.0), "there is nothing to compare the first with");
        assert!(!recent.is_spike(7.9, 2.0));
        assert!(recent.is_spike(12.0, 2.0), "the mean is 5.95");
        assert!(!recent.is_spike(5.0, 2.0));
    }

    #[test]
    fn nothing_is_a_spike_without_a_factor() {
        let mut recent = RecentLoss::default();
        assert!([1.0, 1e9, 1.0].iter().all(|&loss| !recent.is_spike(loss, 0.0)));
    }

    #[test]
    fn a_loss_that_stays_high_is_taken_in_after_a_while() {
        let mut recent = RecentLoss::default();
        (0..100).for_each(|_| assert!(!recent.is_spike(1.0, 2.0)));
        let left_out = (0..1000).take_while(|_| recent.is_spike(10.0, 2.0)).count();
        assert!((10..200).contains(&left_out), "{left_out}");
    }

    #[test]
    fn the_mean_survives_its_file_to_the_bit() {
        let mut recent = RecentLoss::default();
        for step in 0..1000 {
            recent.is_spike(1.0 + f64::from(step).sin(), 3.0);
            let text = serde_json::to_string(&recent).unwrap();
            let read: RecentLoss = serde_json::from_str(&text).unwrap();
            assert_eq!(read.mean.to_bits(), recent.mean.to_bits());
        }
    }
}
