//! RMS norm with Gemma's gain of `1 + w`, and its gradient.
//!
//! Called by the trainer's `rms_norm`. The backward pass recomputes each row's scale; nothing is kept for it.

use rayon::prelude::*;

use super::lanes::dot;
use crate::isa::{Isa, for_each_isa};

/// Rows of one task, and of one partial sum of the gain's gradient.
const TASK_ROWS: usize = 64;

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

for_each_isa! {
    fn forward(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
            let factor = inverse_rms(x, eps);
            for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
                *out = x * factor * (1.0 + gain);
            }
        }
    }
}

/// Inputs of the backward pass.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    x: &'a [f32],
    gain: &'a [f32],
    eps: f32,
    d_out: &'a [f32],
}

for_each_isa! {
    /// Runs the backward pass of some rows, adding to `d_gain`.
    fn backward(incoming: Incoming<'_>, d_x: &mut [f32], d_gain: &mut [f32]) {
        let width = incoming.gain.len();
        let rows = incoming.x.chunks_exact(width).zip(incoming.d_out.chunks_exact(width));
        for ((x, d_out), d_x) in rows.zip(d_x.chunks_exact_mut(width)) {
            let factor = inverse_rms(x, incoming.eps);
            for ((((d_x, x), d_out), gain), d_gain) in
                d_x.iter_mut().zip(x).zip(d_out).zip(incoming.gain).zip(d_gain.iter_mut())
            {
                *d_x = d_out * (1.0 + gain);
                *d_gain += d_out * (x * factor);
            }
            let along = dot(d_x, x) * factor * factor / width as f32;
            for (d_x, x) in d_x.iter_mut().zip(x) {
                *d_x = factor * (*d_x - x * along);
            }
        }
    }
}

/// `x / rms(x) * (1 + gain)` for each row of `gain.len()`.
///
/// # Panics
/// When `x` is no whole number of rows.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    assert!(x.len().is_multiple_of(gain.len()), "whole rows");
    let (isa, task) = (Isa::detect(), TASK_ROWS * gain.len());
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| forward(isa, x, gain, eps, out));
    out
}

/// The gradients of `x` and of the gain, from the gradient of the result.
///
/// # Panics
/// When `x` is no whole number of rows or `d_out` is not as long.
pub fn rms_norm_backward(x: &[f32], gain: &[f32], eps: f32, d_out: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(x.len().is_multiple_of(gain.len()) && x.len() == d_out.len(), "whole rows, as many as came in");
    let (isa, task) = (Isa::detect(), TASK_ROWS * gain.len());
    let mut d_x = vec![0.0; x.len()];
    let mut partial = vec![0.0; x.len().div_ceil(task) * gain.len()];
    let tasks = d_x.par_chunks_mut(task).zip(partial.par_chunks_mut(gain.len()));
    tasks.zip(x.par_chunks(task)).zip(d_out.par_chunks(task)).for_each(|(((d_x, d_gain), x), d_out)| {
        backward(isa, Incoming { x, gain, eps, d_out }, d_x, d_gain);
    });
    let mut d_gain = vec![0.0; gain.len()];
    for partial in partial.chunks_exact(gain.len()) {
        d_gain.iter_mut().zip(partial).for_each(|(sum, partial)| *sum += partial);
    }
    (d_x, d_gain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::tests::{hold_gradient, hold_values, inner, numbers, on_threads, wide};

    fn textbook(x: &[f64], gain: &[f64], eps: f64) -> Vec<f64> {
        let row = |x: &[f64]| {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
            x.iter().zip(gain).map(|(x, gain)| x / (mean + eps).sqrt() * (1.0 + gain)).collect::<Vec<_>>()
        };
        x.chunks(gain.len()).flat_map(row).collect()
    }

    #[test]
    fn a_norm_and_its_gradients_follow_the_textbook() {
        for (rows, width) in [(1, 1), (3, 7), (5, 16), (4, 37)] {
            let (x, gain, d_out) = (numbers(rows * width, 1), numbers(width, 2), numbers(rows * width, 3));
            let eps = f64::from(1e-2_f32);
            hold_values(&rms_norm(&x, &gain, 1e-2), &textbook(&wide(&x), &wide(&gain), eps));
            let (d_x, d_gain) = rms_norm_backward(&x, &gain, 1e-2, &d_out);
            hold_gradient(&d_x, &x, |x| inner(&textbook(x, &wide(&gain), eps), &d_out));
            hold_gradient(&d_gain, &gain, |gain| inner(&textbook(&wide(&x), gain, eps), &d_out));
        }
    }

    #[test]
    fn the_gain_has_the_same_gradient_on_any_number_of_threads() {
        let (x, gain, d_out) = (numbers(900 * 20, 1), numbers(20, 2), numbers(900 * 20, 3));
        let on = |threads| on_threads(threads, || rms_norm_backward(&x, &gain, 1e-6, &d_out));
        assert_eq!(on(1), on(4));
    }
}
