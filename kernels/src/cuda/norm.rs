//! Norms of rows.
//!
//! Called by the backend in `cuda`. `rows.cu` has the kernels: one block a row, which it keeps in registers.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::memory::Memory;
use super::number::Number;
use super::rows::THREADS;
use crate::backend::{Norm, Result, Sandwich, SeamRows};
use crate::weights::WeightPart;

/// Widest row that a block keeps in registers.
const MOST_WIDTH: usize = 8192;
/// Bytes of shared memory: a sum for each warp, of each of two norms.
const NORM_ROOM: usize = 2 * (THREADS as usize / 32) * 4;

/// Norm weights as factors, `1 + w`, in float32.
pub struct Gain<D: Device> {
    pub(super) memory: Memory<D>,
    pub(super) width: usize,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct RmsNorm {
    x: u64,
    gain: u64,
    out: u64,
    x_pitch: u32,
    out_pitch: u32,
    width: u32,
    eps: f32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct SandwichParams {
    residual: u64,
    y: u64,
    x: u64,
    post: u64,
    pre: u64,
    residual_pitch: u32,
    y_pitch: u32,
    x_pitch: u32,
    width: u32,
    eps: f32,
    unused: u32,
}

impl<D: Device> Cuda<D> {
    pub(super) fn norm_weight(&self, weight: &WeightPart<'_>) -> Result<Gain<D>> {
        weight.check()?;
        let (rows, cols) = weight.shape();
        assert_eq!(rows, 1, "a norm has one row of weights");
        let fill = |_: usize, values: &mut [f32]| {
            weight.read_row(0, values);
            values.iter_mut().for_each(|value| *value += 1.0);
        };
        Ok(Gain { memory: self.float32(1, cols, fill, "weights of norms")?, width: cols })
    }

    pub(super) fn norm_rows(&self, x: &Activations<D>, norm: Norm<'_, Gain<D>>, rows: usize, out: &mut Activations<D>) {
        let Norm { gain, eps } = norm;
        assert!(x.width == gain.width && out.width == gain.width && x.width <= MOST_WIDTH, "norms keep the width");
        let params = RmsNorm {
            x: x.rows(0, rows, Number::F32),
            gain: gain.memory.address(),
            out: out.rows(0, rows, Number::Bf16),
            x_pitch: x.pitch as u32,
            out_pitch: out.pitch as u32,
            width: x.width as u32,
            eps,
        };
        self.queue().launch("rms_norm", Blocks::per_row(rows, THREADS).with_shared(NORM_ROOM), &params);
    }

    pub(super) fn sandwich_rows(
        &self,
        y: &Activations<D>,
        gains: Sandwich<'_, Gain<D>>,
        rows: usize,
        out: SeamRows<'_, Activations<D>>,
    ) {
        let SeamRows { residual, x } = out;
        let width = residual.width;
        let widths = [y.width, x.width, gains.post.width, gains.pre.width];
        assert!(widths == [width; 4] && width <= MOST_WIDTH, "seams keep the width");
        let params = SandwichParams {
            residual: residual.rows(0, rows, Number::F32),
            y: y.rows(0, rows, Number::Bf16),
            x: x.rows(0, rows, Number::Bf16),
            post: gains.post.memory.address(),
            pre: gains.pre.memory.address(),
            residual_pitch: residual.pitch as u32,
            y_pitch: y.pitch as u32,
            x_pitch: x.pitch as u32,
            width: width as u32,
            eps: gains.eps,
            unused: 0,
        };
        self.queue().launch("sandwich", Blocks::per_row(rows, THREADS).with_shared(NORM_ROOM), &params);
    }
}
