//! The stages of a run: to which one a step belongs, with its learning rate and the weights that it changes.
//!
//! Made once by `run`. Steps are counted from 0 over all stages; the cross-attention warm-up, when there is one, is
//! stage 0 and the settings' stages follow.

use super::schedule;
use super::settings::{Schedule, Stage, Trainable};
use crate::checkpoint::is_cross_attention;

/// Steps of the cross-attention warm-up when a model's cross-attention has never been trained.
pub const DEFAULT_CROSS_ATTENTION_STEPS: u64 = 1000;

/// All steps of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    stages: Vec<Stage>,
    /// Number of the first of `stages`: 0 for a warm-up of cross-attention.
    first: usize,
}

/// Stage, weights and learning rate of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Number of the stage; 0 is the cross-attention warm-up.
    pub stage: usize,
    /// Weights that change.
    pub train: Trainable,
    /// Learning rate.
    pub learning_rate: f64,
}

impl Plan {
    /// The settings' stages after a warm-up of cross-attention, which keeps the first one's highest rate.
    pub fn new(stages: &[Stage], cross_attention_warmup_steps: u64) -> Self {
        let warmup = stages.first().filter(|_| cross_attention_warmup_steps > 0).map(|first| Stage {
            train: Trainable::CrossAttention,
            steps: cross_attention_warmup_steps,
            learning_rate: first.learning_rate,
            schedule: Schedule::Constant,
            warmup_steps: 0,
            final_fraction: 0.0,
        });
        let first = usize::from(warmup.is_none());
        Self { stages: warmup.into_iter().chain(stages.iter().cloned()).collect(), first }
    }

    /// Steps of all stages.
    pub fn steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.steps).sum()
    }

    /// Stage, weights and learning rate of a step; `None` after the last.
    pub fn at(&self, step: u64) -> Option<Pace> {
        let mut before = 0;
        for (number, stage) in (self.first..).zip(&self.stages) {
            if step < before + stage.steps {
                let learning_rate = schedule::learning_rate(stage, step - before);
                return Some(Pace { stage: number, train: stage.train, learning_rate });
            }
            before += stage.steps;
        }
        None
    }

    /// Whether both have the same first steps, whatever follows them.
    pub fn agrees(&self, other: &Self, steps: u64) -> bool {
        (0..steps).all(|step| self.at(step) == other.at(step))
    }

    /// Steps of the cross-attention warm-up.
    pub fn cross_attention_steps(&self) -> u64 {
        self.stages.first().filter(|_| self.first == 0).map_or(0, |warmup| warmup.steps)
    }

    /// Whether some stage trains cross-attention alone.
    pub fn needs_cross_attention(&self) -> bool {
        self.stages.iter().any(|stage| stage.train == Trainable::CrossAttention)
    }
}

impl Trainable {
    /// Whether a tensor changes.
    pub fn includes(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::CrossAttention => is_cross_attention(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(steps: u64, learning_rate: f64, schedule: Schedule) -> Stage {
        Stage { train: Trainable::All, steps, learning_rate, schedule, warmup_steps: 0, final_fraction: 0.0 }
    }

    #[test]
    fn the_warm_up_of_cross_attention_comes_first_at_the_first_stages_highest_rate() {
        let plan = Plan::new(&[stage(10, 0.5, Schedule::Linear), stage(5, 0.1, Schedule::Constant)], 3);
        assert_eq!(plan.steps(), 18);
        let pace = |step| plan.at(step).unwrap();
        assert_eq!(pace(2), Pace { stage: 0, train: Trainable::CrossAttention, learning_rate: 0.5 });
        assert_eq!(pace(3), Pace { stage: 1, train: Trainable::All, learning_rate: 0.5 });
        assert_eq!(pace(8).learning_rate, 0.25);
        assert_eq!(pace(13), Pace { stage: 2, train: Trainable::All, learning_rate: 0.1 });
        assert_eq!(plan.at(18), None);
    }

    #[test]
    fn without_a_warm_up_stages_are_counted_from_one() {
        let plan = Plan::new(&[stage(10, 0.5, Schedule::Constant)], 0);
        assert_eq!((plan.steps(), plan.at(0).unwrap().stage), (10, 1));
    }

    #[test]
    fn a_plan_may_change_only_in_steps_that_are_still_to_come() {
        let short = Plan::new(&[stage(10, 0.5, Schedule::Constant)], 0);
        let long = Plan::new(&[stage(20, 0.5, Schedule::Constant)], 0);
        assert!(short.agrees(&long, 10) && !short.agrees(&long, 11));
        let falling = |steps| Plan::new(&[stage(steps, 0.5, Schedule::Cosine)], 0);
        assert!(falling(10).agrees(&falling(20), 1) && !falling(10).agrees(&falling(20), 2));
    }

    #[test]
    fn cross_attention_is_its_matrices_and_its_two_norms() {
        let train = Trainable::CrossAttention;
        assert!(train.includes("model.decoder.layers.0.cross_attn.q_proj.weight"));
        assert!(train.includes("model.decoder.layers.0.pre_cross_attn_layernorm.weight"));
        assert!(train.includes("model.decoder.layers.0.post_cross_attn_layernorm.weight"));
        assert!(!train.includes("model.decoder.layers.0.self_attn.q_proj.weight"));
        assert!(!train.includes("model.decoder.norm.weight"));
        assert!(Trainable::All.includes("model.decoder.norm.weight"));
    }
}
