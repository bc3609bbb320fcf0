//! The gated activation `gelu_tanh(gate) * up`, and its gradient.
//!
//! Called by the trainer's `geglu`. The backward pass recomputes the activation; nothing is kept for it.

use rayon::prelude::*;

use crate::isa::{Isa, for_each_isa};
use crate::math;

/// Numbers of one task.
const TASK: usize = 1 << 13;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `gelu_tanh` and its derivative.
#[inline(always)]
fn gelu_with_slope(x: f32) -> (f32, f32) {
    let square = x * x;
    let t = math::tanh(SQRT_2_OVER_PI * (CUBIC * square).mul_add(x, x));
    let inner_slope = SQRT_2_OVER_PI * (3.0 * CUBIC * square + 1.0);
    let half = 0.5 * (1.0 + t);
    (x * half, (0.5 * x * inner_slope).mul_add(1.0 - t * t, half))
}

for_each_isa! {
    fn forward(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = math::gelu_tanh(*gate) * up;
        }
    }
}

for_each_isa! {
    fn backward(inputs: (&[f32], &[f32]), d_out: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
        let inputs = inputs.0.iter().zip(inputs.1).zip(d_out);
        for ((d_gate, d_up), ((gate, up), d_out)) in d_gate.iter_mut().zip(d_up).zip(inputs) {
            let (value, slope) = gelu_with_slope(*gate);
            *d_gate = d_out * up * slope;
            *d_up = d_out * value;
        }
    }
}

/// `gelu_tanh(gate) * up`, number by number.
///
/// # Panics
/// When the two are not equally long.
pub fn geglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "every gate has its number");
    let isa = Isa::detect();
    let mut out = vec![0.0; gate.len()];
    let tasks = out.par_chunks_mut(TASK).zip(gate.par_chunks(TASK)).zip(up.par_chunks(TASK));
    tasks.for_each(|((out, gate), up)| forward(isa, gate, up, out));
    out
}

/// The gradients of gate and up, from the gradient of the result.
///
/// # Panics
/// When the three are not equally long.
pub fn geglu_backward(gate: &[f32], up: &[f32], d_out: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(gate.len() == up.len() && up.len() == d_out.len(), "every gate has its number and gradient");
    let isa = Isa::detect();
    let (mut d_gate, mut d_up) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
    let inputs = gate.par_chunks(TASK).zip(up.par_chunks(TASK)).zip(d_out.par_chunks(TASK));
    let tasks = d_gate.par_chunks_mut(TASK).zip(d_up.par_chunks_mut(TASK)).zip(inputs);
    tasks.for_each(|((d_gate, d_up), ((gate, up), d_out))| backward(isa, (gate, up), d_out, d_gate, d_up));
    (d_gate, d_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::tests::{hold_gradient, hold_values, inner, numbers, wide};

    fn textbook(gate: &[f64], up: &[f64]) -> Vec<f64> {
        let gelu =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
        gate.iter().zip(up).map(|(gate, up)| gelu(*gate) * up).collect()
    }

    #[test]
    fn the_gated_activation_and_its_gradients_follow_the_textbook() {
        let count = 203;
        let gate: Vec<f32> = numbers(count, 1).iter().map(|x| 3.0 * x).collect();
        let (up, d_out) = (numbers(count, 2), numbers(count, 3));
        hold_values(&geglu(&gate, &up), &textbook(&wide(&gate), &wide(&up)));
        let (d_gate, d_up) = geglu_backward(&gate, &up, &d_out);
        hold_gradient(&d_gate, &gate, |gate| inner(&textbook(gate, &wide(&up)), &d_out));
        hold_gradient(&d_up, &up, |up| inner(&textbook(&wide(&gate), up), &d_out));
    }

    #[test]
    fn far_from_zero_the_slope_is_that_of_a_rectifier() {
        let (d_gate, d_up) = geglu_backward(&[40.0, -40.0], &[2.0, 2.0], &[1.0, 1.0]);
        assert_eq!((d_gate, d_up), (vec![2.0, 0.0], vec![40.0, 0.0]));
    }
}
