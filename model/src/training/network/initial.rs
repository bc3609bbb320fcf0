//! First weights of what is not copied from anywhere.
//!
//! Called by `network`. A tensor's numbers follow from the seed and its name, whatever else is made.

use candle_core::{Device, Tensor, Var};
use kernels::math::philox;
use rayon::prelude::*;

use crate::training::Result;

/// Numbers made by one call of the generator.
const BLOCK: usize = 4;
/// Blocks made by one thread at a time.
const TASK_BLOCKS: usize = 4096;

/// How first weights are drawn.
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
            // As transformers' `T5GemmaPreTrainedModel._init_weights` has it for both of its heads.
            let is_scaled = name.ends_with(".out_proj.weight");
            let scale = if is_scaled { (outputs as f64).powf(-0.5) } else { 1.0 };
            fill_normal(self.key(name), self.deviation * scale, &mut numbers);
        }
        Ok(Var::from_tensor(&Tensor::from_vec(numbers, shape, device)?)?)
    }

    /// FNV-1a of the name, mixed with the seed.
    fn key(&self, name: &str) -> u64 {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let [low, high, ..] = philox(self.seed, [hash as u32, (hash >> 32) as u32, 0, 0]);
        u64::from(high) << 32 | u64::from(low)
    }
}

/// Normal numbers of mean 0 by Box and Muller's method.
fn fill_normal(key: u64, deviation: f64, out: &mut [f32]) {
    out.par_chunks_mut(BLOCK * TASK_BLOCKS).enumerate().for_each(|(task, out)| {
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let block = (task * TASK_BLOCKS + block) as u64;
            let [a, b, c, d] = philox(key, [block as u32, (block >> 32) as u32, 0, 0]);
            let normals = [pair(a, b), pair(c, d)].concat();
            out.iter_mut().zip(normals).for_each(|(out, normal)| *out = (normal * deviation) as f32);
        }
    });
}

fn pair(first: u32, second: u32) -> [f64; 2] {
    let steps = f64::from(u32::MAX) + 1.0;
    let radius = (-2.0 * ((f64::from(first) + 1.0) / steps).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * f64::from(second) / steps).sin_cos();
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_their_mean_and_deviation() {
        let mut numbers = vec![0.0; 100_003];
        fill_normal(7, 0.02, &mut numbers);
        let count = numbers.len() as f64;
        let mean = numbers.iter().map(|&number| f64::from(number)).sum::<f64>() / count;
        let variance = numbers.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 3e-4, "{mean}");
        assert!((variance.sqrt() - 0.02).abs() < 2e-4, "{variance}");
        let beyond = numbers.iter().filter(|number| number.abs() > 0.04).count() as f64 / count;
        assert!((beyond - 0.0455).abs() < 0.003, "{beyond} lie beyond two deviations");
    }

    #[test]
    fn each_tensor_has_numbers_of_its_own_that_never_change() {
        let numbers = |seed, name| {
            let drawn = Initial { seed, deviation: 0.02 }.parameter(name, &[3, 5], &Device::Cpu).unwrap();
            drawn.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(numbers(1, "a"), numbers(1, "a"));
        assert_ne!(numbers(1, "a"), numbers(2, "a"));
        assert_ne!(numbers(1, "a"), numbers(1, "b"));
    }
}
