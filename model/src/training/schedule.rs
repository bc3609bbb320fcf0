//! The learning rate inside a stage: a warm-up, then a fall.
//!
//! Called by `stages`. A pure function of the step, so that a resumed run has nothing to restore.

use std::f64::consts::PI;

use super::settings::{Schedule, Stage};

/// Learning rate of a stage's step, counted from 0. The warm-up's last step has the highest rate; `cosine` and
/// `linear` reach their final fraction after the stage's last step.
pub fn learning_rate(stage: &Stage, step: u64) -> f64 {
    if step < stage.warmup_steps {
        return stage.learning_rate * (step + 1) as f64 / stage.warmup_steps as f64;
    }
    let falling_steps = (stage.steps - stage.warmup_steps).max(1);
    let done = ((step - stage.warmup_steps) as f64 / falling_steps as f64).min(1.0);
    let left = match stage.schedule {
        Schedule::Cosine => 0.5 * (1.0 + (PI * done).cos()),
        Schedule::Linear => 1.0 - done,
        Schedule::Constant => return stage.learning_rate,
    };
    stage.learning_rate * (stage.final_fraction + (1.0 - stage.final_fraction) * left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::settings::Trainable;

    fn stage(schedule: Schedule) -> Stage {
        Stage { train: Trainable::All, steps: 100, learning_rate: 2.0, schedule, warmup_steps: 20, final_fraction: 0.1 }
    }

    #[test]
    fn the_rate_rises_over_the_warm_up_and_never_starts_at_zero() {
        let stage = stage(Schedule::Cosine);
        assert_eq!(learning_rate(&stage, 0), 0.1);
        assert_eq!(learning_rate(&stage, 9), 1.0);
        assert_eq!(learning_rate(&stage, 19), 2.0);
        assert_eq!(learning_rate(&stage, 20), 2.0);
    }

    #[test]
    fn cosine_and_linear_are_half_way_in_the_middle_and_end_at_their_fraction() {
        for schedule in [Schedule::Cosine, Schedule::Linear] {
            let stage = stage(schedule);
            assert!((learning_rate(&stage, 60) - 1.1).abs() < 1e-12, "{schedule:?}");
            assert!((learning_rate(&stage, 100) - 0.2).abs() < 1e-12, "{schedule:?}");
        }
        let quarter = learning_rate(&stage(Schedule::Cosine), 40);
        assert!((quarter - 2.0 * (0.1 + 0.9 * 0.5 * (1.0 + (PI / 4.0).cos()))).abs() < 1e-12);
    }

    #[test]
    fn a_constant_rate_stays_and_a_stage_may_be_all_warm_up() {
        assert_eq!(learning_rate(&stage(Schedule::Constant), 99), 2.0);
        let all = Stage { warmup_steps: 100, ..stage(Schedule::Linear) };
        assert_eq!(learning_rate(&all, 99), 2.0);
        assert_eq!(learning_rate(&all, 100), 2.0);
    }
}
