//! Initial weights of tensors that are not copied from a checkpoint.
//!
//! Called by `network`.

use candle_core::{Device, Tensor, Var};

use crate::normal::{fill_normal, tensor_key};
use crate::training::Result;

/// Distribution of initial weights.
pub struct Initial {
    pub seed: u64,
    /// Deviation of a matrix.
    pub deviation: f64,
}

impl Initial {
    /// A matrix of normal numbers, or a norm or bias of zeros.
    pub fn parameter(&self, name: &str, shape: &[usize], device: &Device) -> Result<Var> {
        let mut numbers = vec![0.0_f32; shape.iter().product()];
        if let [outputs, _] = *shape {
            // transformers' `T5GemmaPreTrainedModel._init_weights` does this for both of its heads.
            let is_scaled = name.ends_with(".out_proj.weight");
            let scale = if is_scaled { (outputs as f64).powf(-0.5) } else { 1.0 };
            fill_normal(tensor_key(self.seed, name), self.deviation * scale, &mut numbers);
        }
        Ok(Var::from_tensor(&Tensor::from_vec(numbers, shape, device)?)?)
    }
}
