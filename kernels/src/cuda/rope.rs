//! Rotation of query and key heads by their positions.
//!
//! Called by the backend in `cuda`. `rows.cu` has the kernel.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::memory::Memory;
use super::number::Number;
use super::rows::THREADS;
use crate::backend::{Result, RotaryHeads};
use crate::math::inverse_frequency;

/// `[cos.., sin..]` of each position, in float32.
pub struct RopeTable<D: Device> {
    pub(super) memory: Memory<D>,
    pub(super) head_dim: usize,
}

impl<D: Device> RopeTable<D> {
    /// Refuses positions beyond the table.
    pub(super) fn check(&self, positions: &[u32]) {
        let most = self.memory.bytes() / (4 * self.head_dim);
        assert!(positions.iter().all(|&position| (position as usize) < most), "a position has no angles");
    }
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Rope {
    rows: u64,
    positions: u64,
    table: u64,
    pitch: u32,
    heads: u32,
    head_dim: u32,
    unused: u32,
}

impl<D: Device> Cuda<D> {
    pub(super) fn rotary_angles(&self, positions: usize, head_dim: usize, theta: f32) -> Result<RopeTable<D>> {
        assert!(head_dim.is_multiple_of(8), "heads are multiples of 8 wide");
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half).map(|i| inverse_frequency(i, head_dim, theta)).collect();
        let fill = |position: usize, values: &mut [f32]| {
            for (i, frequency) in frequencies.iter().enumerate() {
                (values[half + i], values[i]) = (position as f32 * frequency).sin_cos();
            }
        };
        Ok(RopeTable { memory: self.float32(positions, head_dim, fill, "the table of rotary angles")?, head_dim })
    }

    pub(super) fn rope_rows(&self, qkv: &mut Activations<D>, positions: &[u32], heads: RotaryHeads<'_, RopeTable<D>>) {
        let RotaryHeads { shape, table } = heads;
        let (heads, head_dim) = (shape.heads + shape.kv_heads, table.head_dim);
        assert!(heads * head_dim <= qkv.width, "a row holds all heads");
        table.check(positions);
        let [positions_at] = self.queue().lists([positions]);
        let params = Rope {
            rows: qkv.rows(0, positions.len(), Number::Bf16),
            positions: positions_at,
            table: table.memory.address(),
            pitch: qkv.pitch as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            unused: 0,
        };
        self.queue().launch("rope", Blocks::per_row(positions.len(), THREADS), &params);
    }
}
