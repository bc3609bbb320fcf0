//! Normally distributed numbers for weights that are not copied from a checkpoint. Those of a tensor follow from the
//! seed and the tensor's name alone.
//!
//! Called by `adaptation` and by the training network.

use kernels::math::philox;
use rayon::prelude::*;

/// Numbers that one call of the generator makes.
const BLOCK: usize = 4;
/// Blocks that one thread makes at a time.
const TASK_BLOCKS: usize = 4096;

/// The generator's key for a tensor: FNV-1a of its name, mixed with the seed.
pub(crate) fn tensor_key(seed: u64, name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let [low, high, ..] = philox(seed, [hash as u32, (hash >> 32) as u32, 0, 0]);
    u64::from(high) << 32 | u64::from(low)
}

/// Fills `out` with normal numbers of mean 0 by the Box-Muller method.
pub(crate) fn fill_normal(key: u64, deviation: f64, out: &mut [f32]) {
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
    fn each_tensor_has_a_key_of_its_own() {
        assert_eq!(tensor_key(1, "a"), tensor_key(1, "a"));
        assert_ne!(tensor_key(1, "a"), tensor_key(2, "a"));
        assert_ne!(tensor_key(1, "a"), tensor_key(1, "b"));
    }
}
