//! AdamW on slices, the squared norm of a gradient, and scaling it.
//!
//! Called by the trainer's optimiser. Formulas and their order are those of `torch.optim.AdamW` (Loshchilov and Hutter,
//! arXiv 1711.05101); everything else that they depend on is an argument.

use rayon::prelude::*;

use super::lanes::{LANES, dot};
use crate::isa::{Isa, for_each_isa};

/// Numbers of one task.
const TASK: usize = 1 << 14;
/// Numbers that are summed in float32 before their sum is added in float64.
const BLOCK: usize = 64 * LANES;

/// Parameters of a step, besides weights, moments and gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Number of the step, from 1.
    pub step: u64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Number added to the root of the second moment.
    pub epsilon: f64,
    /// Share of the weights that is subtracted, times the learning rate.
    pub weight_decay: f64,
    /// Factor of the gradient, for clipping or a mean.
    pub gradient_scale: f64,
}

impl AdamWStep {
    /// Factor of the weights before the step: one minus the decay.
    pub fn kept(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }

    /// The learning rate divided by the first moment's bias correction.
    pub fn rate(&self) -> f64 {
        self.learning_rate / (1.0 - self.beta1.powf(self.step as f64))
    }

    /// Root of the second moment's bias correction.
    pub fn root_of_bias(&self) -> f64 {
        (1.0 - self.beta2.powf(self.step as f64)).sqrt()
    }
}

for_each_isa! {
    /// Updates a first moment from the gradient.
    fn first(moments: &mut [f32], gradient: &[f32], scale: f32, share: f32) {
        for (moment, gradient) in moments.iter_mut().zip(gradient) {
            *moment += share * (gradient * scale - *moment);
        }
    }
}

for_each_isa! {
    /// Updates a second moment from the gradient.
    fn second(moments: &mut [f32], gradient: &[f32], scale: f32, shares: [f32; 2]) {
        let [kept, share] = shares;
        for (moment, gradient) in moments.iter_mut().zip(gradient) {
            let gradient = gradient * scale;
            *moment = (share * gradient).mul_add(gradient, *moment * kept);
        }
    }
}

/// Coefficients of a step of the weights, in float32.
#[derive(Clone, Copy)]
struct WeightRates {
    kept: f32,
    rate: f32,
    root_of_bias: f32,
    epsilon: f32,
}

for_each_isa! {
    fn weights(values: &mut [f32], first: &[f32], second: &[f32], rates: WeightRates) {
        for ((value, first), second) in values.iter_mut().zip(first).zip(second) {
            let root = second.sqrt() / rates.root_of_bias + rates.epsilon;
            *value = *value * rates.kept - rates.rate * (first / root);
        }
    }
}

/// Updates the first moment from the gradient.
///
/// # Panics
/// When the slices are not equally long.
pub fn adamw_first(moments: &mut [f32], gradient: &[f32], step: &AdamWStep) {
    assert_eq!(moments.len(), gradient.len(), "moments of the same weights");
    let (isa, scale, share) = (Isa::detect(), step.gradient_scale as f32, (1.0 - step.beta1) as f32);
    let tasks = moments.par_chunks_mut(TASK).zip(gradient.par_chunks(TASK));
    tasks.for_each(|(moments, gradient)| first(isa, moments, gradient, scale, share));
}

/// Updates the second moment from the gradient.
///
/// # Panics
/// When the slices are not equally long.
pub fn adamw_second(moments: &mut [f32], gradient: &[f32], step: &AdamWStep) {
    assert_eq!(moments.len(), gradient.len(), "moments of the same weights");
    let (isa, scale) = (Isa::detect(), step.gradient_scale as f32);
    let shares = [step.beta2 as f32, (1.0 - step.beta2) as f32];
    let tasks = moments.par_chunks_mut(TASK).zip(gradient.par_chunks(TASK));
    tasks.for_each(|(moments, gradient)| second(isa, moments, gradient, scale, shares));
}

/// Updates the weights from the moments that [`adamw_first`] and [`adamw_second`] have updated.
///
/// # Panics
/// When the slices are not equally long.
pub fn adamw_weights(values: &mut [f32], first: &[f32], second: &[f32], step: &AdamWStep) {
    assert!(first.len() == second.len() && second.len() == values.len(), "moments of the same weights");
    let rates = WeightRates {
        kept: step.kept() as f32,
        rate: step.rate() as f32,
        root_of_bias: step.root_of_bias() as f32,
        epsilon: step.epsilon as f32,
    };
    let isa = Isa::detect();
    let tasks = values.par_chunks_mut(TASK).zip(first.par_chunks(TASK)).zip(second.par_chunks(TASK));
    tasks.for_each(|((values, first), second)| weights(isa, values, first, second, rates));
}

for_each_isa! {
    fn squares(values: &[f32]) -> f64 {
        let mut sum = 0.0;
        for block in values.chunks(BLOCK) {
            sum += f64::from(dot(block, block));
        }
        sum
    }
}

/// `sum(x^2)`, in an order that depends on the length alone.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let isa = Isa::detect();
    let partial: Vec<f64> = values.par_chunks(TASK).map(|values| squares(isa, values)).collect();
    partial.into_iter().sum()
}

/// Multiplies every number.
pub fn scale(values: &mut [f32], by: f32) {
    values.par_chunks_mut(TASK).for_each(|values| values.iter_mut().for_each(|value| *value *= by));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::tests::{numbers, on_threads};

    #[test]
    fn several_steps_follow_the_textbook_in_float64() {
        let count = 101;
        let mut values = numbers(count, 1);
        let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
        let mut expected: Vec<[f64; 3]> = values.iter().map(|&value| [f64::from(value), 0.0, 0.0]).collect();
        for number in 1..=5 {
            let step = AdamWStep {
                step: number,
                learning_rate: 1e-2 * number as f64,
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-8,
                weight_decay: 0.1,
                gradient_scale: 0.5,
            };
            let gradient = numbers(count, 10 + number);
            adamw_first(&mut first, &gradient, &step);
            adamw_second(&mut second, &gradient, &step);
            adamw_weights(&mut values, &first, &second, &step);
            for ([value, m, v], gradient) in expected.iter_mut().zip(&gradient) {
                let gradient = 0.5 * f64::from(*gradient);
                *m = 0.9 * *m + 0.1 * gradient;
                *v = 0.99 * *v + 0.01 * gradient * gradient;
                let (m, v) = (*m / (1.0 - 0.9_f64.powi(number as i32)), *v / (1.0 - 0.99_f64.powi(number as i32)));
                *value -= step.learning_rate * (0.1 * *value + m / (v.sqrt() + 1e-8));
            }
        }
        for (value, [expected, ..]) in values.iter().zip(&expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{value} instead of {expected}");
        }
    }

    #[test]
    fn a_gradients_length_is_the_same_on_any_number_of_threads_and_close_to_the_textbook() {
        let values = numbers(100_003, 1);
        let expected: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let sum = on_threads(1, || sum_of_squares(&values));
        assert!((sum - expected).abs() < 1e-6 * expected);
        assert_eq!(on_threads(3, || sum_of_squares(&values)), sum);
    }

    #[test]
    fn every_number_is_scaled() {
        let mut values = vec![3.0; 40_000];
        scale(&mut values, 0.5);
        assert!(values.iter().all(|&value| value == 1.5));
    }
}
