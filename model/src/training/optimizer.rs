//! AdamW on float32 weights: the moments of every weight that has been trained, and a step with them.
//!
//! Driven by `run`, saved by `state`. A weight that is not trained has no gradient here, and keeps its bytes.

use std::collections::BTreeMap;

use candle_core::{DType, Var};

use super::error::Result;
use super::network::Gradients;
use super::ops::{self, AdamWStep};
use super::settings::OptimizerSettings;

/// The optimiser with its moments.
#[derive(Debug)]
pub struct AdamW {
    settings: OptimizerSettings,
    moments: BTreeMap<String, Moments>,
}

/// Moments of a weight.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Decaying mean of the gradients.
    pub first: Var,
    /// Decaying mean of their squares.
    pub second: Var,
    /// Number of updates. A weight that was frozen at first has had fewer than others.
    pub updates: u64,
}

impl AdamW {
    /// A new optimiser, without moments.
    pub fn new(settings: &OptimizerSettings) -> Self {
        Self { settings: settings.clone(), moments: BTreeMap::new() }
    }

    /// A resumed optimiser.
    pub fn resume(settings: &OptimizerSettings, moments: BTreeMap<String, Moments>) -> Self {
        Self { settings: settings.clone(), moments }
    }

    /// Moments of each weight that has been trained.
    pub fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Updates the weights that have a gradient, as `torch.optim.AdamW` after `clip_grad_norm_`. `norm` is that of all
    /// gradients together.
    ///
    /// # Errors
    /// When the tensor library refuses an operation.
    ///
    /// # Panics
    /// When a gradient has no weight.
    pub fn step(
        &mut self,
        weights: &BTreeMap<String, Var>,
        gradients: &Gradients,
        norm: f64,
        learning_rate: f64,
    ) -> Result<()> {
        let how = self.step_of(norm, learning_rate);
        for (name, gradient) in gradients {
            let weight = &weights[name];
            if !self.moments.contains_key(name) {
                self.moments.insert(name.clone(), Moments::none_of(weight)?);
            }
            let moments = self.moments.get_mut(name).expect("it was just made");
            moments.updates += 1;
            let step = AdamWStep { step: moments.updates, ..how };
            let own = ops::Moments { first: &moments.first, second: &moments.second };
            ops::adamw_step(weight, own, gradient, &step)?;
        }
        Ok(())
    }

    /// Everything a step depends on, except its number.
    fn step_of(&self, norm: f64, learning_rate: f64) -> AdamWStep {
        let OptimizerSettings { beta1, beta2, epsilon, weight_decay, clip_norm, .. } = self.settings;
        // torch adds this number to the norm before it divides.
        let gradient_scale = if clip_norm > 0.0 { (clip_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        AdamWStep { step: 0, learning_rate, beta1, beta2, epsilon, weight_decay, gradient_scale }
    }
}

impl Moments {
    fn none_of(weight: &Var) -> Result<Self> {
        let zeros = || Var::zeros(weight.shape(), DType::F32, weight.device());
        Ok(Self { first: zeros()?, second: zeros()?, updates: 0 })
    }
}

/// Norm of all gradients together: squares of each tensor are summed on its device, then the tensors in order of names.
///
/// # Errors
/// When the tensor library refuses an operation.
pub fn norm(gradients: &Gradients) -> Result<f64> {
    let mut sum = 0.0;
    for gradient in gradients.values() {
        sum += ops::sum_of_squares(gradient)?;
    }
    Ok(sum.sqrt())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    fn weights(values: &[f32]) -> BTreeMap<String, Var> {
        let var = Var::new(values, &Device::Cpu).unwrap();
        [("a".to_owned(), var.clone()), ("b".to_owned(), Var::from_tensor(&var.copy().unwrap()).unwrap())].into()
    }

    fn gradient(values: &[f32]) -> Gradients {
        [("a".to_owned(), Tensor::new(values, &Device::Cpu).unwrap())].into()
    }

    /// `torch.optim.AdamW` after `clip_grad_norm_`, one weight, in the order of its documentation.
    struct Textbook {
        weight: f64,
        first: f64,
        second: f64,
        updates: i32,
    }

    impl Textbook {
        fn step(&mut self, gradient: f64, rate: f64, how: &OptimizerSettings) {
            self.updates += 1;
            self.weight -= rate * how.weight_decay * self.weight;
            self.first = how.beta1 * self.first + (1.0 - how.beta1) * gradient;
            self.second = how.beta2 * self.second + (1.0 - how.beta2) * gradient * gradient;
            let first = self.first / (1.0 - how.beta1.powi(self.updates));
            let second = self.second / (1.0 - how.beta2.powi(self.updates));
            self.weight -= rate * first / (second.sqrt() + how.epsilon);
        }
    }

    #[test]
    fn steps_are_those_of_the_textbook_with_clipping() {
        let how = OptimizerSettings { weight_decay: 0.1, ..OptimizerSettings::default() };
        let mut optimizer = AdamW::new(&how);
        let weights = weights(&[0.5, -2.0, 3.0]);
        let mut textbook = [0.5, -2.0, 3.0].map(|weight| Textbook { weight, first: 0.0, second: 0.0, updates: 0 });
        for (step, values) in [[3.0f32, 4.0, 0.0], [0.1, -0.2, 0.3], [1e-6, 5.0, -7.0]].iter().enumerate() {
            let rate = 0.1 / (step + 1) as f64;
            let gradients = gradient(values);
            let norm = norm(&gradients).unwrap();
            let clip = (1.0 / norm).min(1.0);
            optimizer.step(&weights, &gradients, norm, rate).unwrap();
            for (own, &value) in textbook.iter_mut().zip(values) {
                own.step(f64::from(value) * clip, rate, &how);
            }
        }
        let found = weights["a"].to_vec1::<f32>().unwrap();
        for (found, expected) in found.iter().zip(&textbook) {
            assert!((f64::from(*found) - expected.weight).abs() < 1e-5, "{found} {}", expected.weight);
        }
    }

    #[test]
    fn a_weight_without_a_gradient_keeps_its_bytes_and_has_no_moments() {
        let mut optimizer = AdamW::new(&OptimizerSettings::default());
        let weights = weights(&[0.1, 0.2]);
        optimizer.step(&weights, &gradient(&[1.0, 1.0]), 1.0, 0.1).unwrap();
        assert_eq!(weights["b"].to_vec1::<f32>().unwrap(), [0.1, 0.2]);
        assert_eq!(optimizer.moments().keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn an_optimiser_that_goes_on_does_as_one_that_never_stopped() {
        let how = OptimizerSettings::default();
        let (one, two) = (weights(&[0.1, 0.2]), weights(&[0.1, 0.2]));
        let gradients = gradient(&[0.5, -0.25]);
        let mut unbroken = AdamW::new(&how);
        let mut broken = AdamW::new(&how);
        unbroken.step(&one, &gradients, 0.5, 0.1).unwrap();
        broken.step(&two, &gradients, 0.5, 0.1).unwrap();
        let mut resumed = AdamW::resume(&how, broken.moments().clone());
        unbroken.step(&one, &gradients, 0.5, 0.1).unwrap();
        resumed.step(&two, &gradients, 0.5, 0.1).unwrap();
        assert_eq!(one["a"].to_vec1::<f32>().unwrap(), two["a"].to_vec1::<f32>().unwrap());
        assert_eq!(resumed.moments()["a"].updates, 2);
    }
}
