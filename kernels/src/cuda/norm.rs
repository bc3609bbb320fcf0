//! Weights of norms, and the parameters of the kernels that norm whole rows.
//!
//! Used by the ops on rows. `rows.cu` has the kernels, which keep a row in registers.

use std::ops::Range;

use bytemuck::NoUninit;

use super::activations::Activations;
use super::device::Device;
use super::memory::Memory;
use super::number::Number;
use crate::backend::{Norm, Sandwich, SeamRows};

/// Widest row that a block keeps in registers.
const MOST_WIDTH: usize = 8192;
/// Warps of a block.
const WARPS: usize = 8;
/// Bytes of shared memory of a block: a float32 sum for each warp, of each of two norms.
pub(super) const NORM_ROOM: usize = 2 * WARPS * size_of::<f32>();

/// Norm weights as factors, `1 + w`, in float32.
pub struct Gain<D: Device> {
    pub(super) memory: Memory<D>,
    pub(super) width: usize,
}

/// Parameters of the kernel `rms_norm`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct RmsNorm {
    x: u64,
    gain: u64,
    out: u64,
    x_pitch: u32,
    out_pitch: u32,
    width: u32,
    eps: f32,
}

impl RmsNorm {
    pub(super) fn new<D: Device>(
        x: &Activations<D>,
        norm: Norm<'_, Gain<D>>,
        rows: usize,
        out: &Activations<D>,
    ) -> Self {
        let Norm { gain, eps } = norm;
        assert!(x.width == gain.width && out.width == gain.width && x.width <= MOST_WIDTH, "norms keep the width");
        Self {
            x: x.rows(0, rows, Number::F32),
            gain: gain.memory.address(),
            out: out.rows(0, rows, Number::Bf16),
            x_pitch: x.pitch as u32,
            out_pitch: out.pitch as u32,
            width: x.width as u32,
            eps,
        }
    }
}

/// Parameters of the kernel `sandwich`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct Seam {
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

impl Seam {
    pub(super) fn new<D: Device>(
        y: &Activations<D>,
        norms: Sandwich<'_, Gain<D>>,
        rows: Range<usize>,
        out: SeamRows<'_, Activations<D>>,
    ) -> Self {
        let SeamRows { residual, x } = out;
        let width = residual.width;
        let widths = [y.width, x.width, norms.post.width, norms.pre.width];
        assert!(widths == [width; 4] && width <= MOST_WIDTH, "seams keep the width");
        Self {
            residual: residual.rows(rows.start, rows.len(), Number::F32),
            y: y.rows(rows.start, rows.len(), Number::Bf16),
            x: x.rows(rows.start, rows.len(), Number::Bf16),
            post: norms.post.memory.address(),
            pre: norms.pre.memory.address(),
            residual_pitch: residual.pitch as u32,
            y_pitch: y.pitch as u32,
            x_pitch: x.pitch as u32,
            width: width as u32,
            eps: norms.eps,
            unused: 0,
        }
    }
}
