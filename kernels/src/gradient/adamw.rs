//! AdamW on slices, and the sums around it: a gradient's length, and adding gradients up.
//!
//! Called by the trainer's optimiser. Formulas and their order are those of `torch.optim.AdamW` (Loshchilov and Hutter,
//! arXiv 1711.05101); what they depend on besides the slices comes as an argument.

use rayon::prelude::*;

use super::lanes::{LANES, dot};
use crate::cpu::isa::{Isa, for_each_isa};

/// Numbers of one task.
const TASK: usize = 1 << 14;
/// Numbers that are summed in float32 before float64 takes over.
const BLOCK: usize = 64 * LANES;

/// What a step depends on besides weights, moments and gradient.
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
    /// Added to the second moment's root.
    pub epsilon: f64,
    /// Share of the weights that is taken away, times the learning rate.
    pub weight_decay: f64,
    /// Multiplies the gradient first, as clipping or a mean does.
    pub gradient_scale: f64,
}

impl AdamWStep {
    /// What the weights keep before the step.
    pub fn kept(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }

    /// The learning rate over the first moment's bias.
    pub fn rate(&self) -> f64 {
        self.learning_rate / (1.0 - self.beta1.powf(self.step as f64))
    }

    /// Root of the second moment's bias.
    pub fn root_of_bias(&self) -> f64 {
        (1.0 - self.beta2.powf(self.step as f64)).sqrt()
    }
}

/// The numbers of a step of the moments, in float32.
#[derive(Clone, Copy)]
struct MomentRates {
    scale: f32,
    first: f32,
    kept: f32,
    second: f32,
}

for_each_isa! {
    fn moments(first: &mut [f32], second: &mut [f32], gradient: &[f32], rates: MomentRates) {
        for ((first, second), gradient) in first.iter_mut().zip(second).zip(gradient) {
            let gradient = gradient * rates.scale;
            *first += rates.first * (gradient - *first);
            *second = (rates.second * gradient).mul_add(gradient, *second * rates.kept);
        }
    }
}

/// The numbers of a step of the weights, in float32.
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

/// Moves both moments towards the gradient and its square.
///
/// # Panics
/// When the slices are not equally long.
pub fn adamw_moments(first: &mut [f32], second: &mut [f32], gradient: &[f32], step: &AdamWStep) {
    assert!(first.len() == second.len() && second.len() == gradient.len(), "moments of the same weights");
    let rates = MomentRates {
        scale: step.gradient_scale as f32,
        first: (1.0 - step.beta1) as f32,
        kept: step.beta2 as f32,
        second: (1.0 - step.beta2) as f32,
    };
    let isa = Isa::detect();
    let tasks = first.par_chunks_mut(TASK).zip(second.par_chunks_mut(TASK)).zip(gradient.par_chunks(TASK));
    tasks.for_each(|((first, second), gradient)| moments(isa, first, second, gradient, rates));
}

/// Moves the weights by moments that [`adamw_moments`] has moved.
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
        values.chunks(BLOCK).map(|block| f64::from(dot(block, block))).sum::<f64>()
    }
}

/// `sum(x^2)`, in an order that depends on the length alone.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let isa = Isa::detect();
    let partial: Vec<f64> = values.par_chunks(TASK).map(|values| squares(isa, values)).collect();
    partial.into_iter().sum()
}

for_each_isa! {
    fn add(sum: &mut [f32], values: &[f32], scale: f32) {
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum = value.mul_add(scale, *sum);
        }
    }
}

/// `sum += scale * values`.
///
/// # Panics
/// When the two are not equally long.
pub fn add_scaled(sum: &mut [f32], values: &[f32], scale: f32) {
    assert_eq!(sum.len(), values.len(), "a number for each");
    let isa = Isa::detect();
    sum.par_chunks_mut(TASK).zip(values.par_chunks(TASK)).for_each(|(sum, values)| add(isa, sum, values, scale));
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
            adamw_moments(&mut first, &mut second, &gradient, &step);
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
    fn gradients_add_up() {
        let mut sum = vec![1.0; 20_000];
        add_scaled(&mut sum, &vec![3.0; 20_000], 0.5);
        assert!(sum.iter().all(|&sum| sum == 2.5));
    }
}
