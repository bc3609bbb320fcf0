//! Rotary angles, norms of heads, and the parameters of the kernels that rotate.
//!
//! Used by the ops on rows and on pages. `rows.cu` has the kernels.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::device::Device;
use super::memory::Memory;
use super::norm::Gain;
use super::number::Number;
use crate::backend::{HeadNorms, RotaryHeads};

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

/// Width of the widest head that a warp holds: 2 times 32 lanes times `Head::PAIRS` of `heads.cuh`.
const WIDEST_HEAD: usize = 256;

/// Address of a norm's weight, checked to fit heads of this width, and these to fit a warp.
pub(super) fn head_gain<D: Device>(gain: &Gain<D>, head_dim: usize) -> u64 {
    assert!(head_dim <= WIDEST_HEAD, "heads that are normed are at most {WIDEST_HEAD} wide");
    assert_eq!(gain.width, head_dim, "a norm of heads is as wide as a head");
    gain.memory.address()
}

/// Norms of query and key heads, as kernels take them.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadGains {
    pub query: u64,
    pub key: u64,
    pub eps: f32,
}

impl HeadGains {
    pub(super) fn new<D: Device>(norms: HeadNorms<'_, Gain<D>>, head_dim: usize) -> Self {
        let HeadNorms { query, key, eps } = norms;
        Self { query: head_gain(query, head_dim), key: head_gain(key, head_dim), eps }
    }
}

/// Parameters of the kernel `rope`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct Rope {
    rows: u64,
    positions: u64,
    table: u64,
    pitch: u32,
    heads: u32,
    head_dim: u32,
    unused: u32,
}

/// Parameters of the kernel `normed_rope`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct NormedRope {
    rope: Rope,
    query_gain: u64,
    key_gain: u64,
    query_heads: u32,
    eps: f32,
}

impl Rope {
    /// Rotates the first `count` rows; `positions` is the address of their positions.
    pub(super) fn new<D: Device>(
        qkv: &Activations<D>,
        count: usize,
        positions: u64,
        heads: RotaryHeads<'_, RopeTable<D>, Gain<D>>,
    ) -> Self {
        let RotaryHeads { shape, table, .. } = heads;
        let (heads, head_dim) = (shape.heads + shape.kv_heads, table.head_dim);
        assert_eq!(shape.head_dim, head_dim, "angles are those of heads as wide");
        assert!(heads * head_dim <= qkv.width, "a row holds all heads");
        Self {
            rows: qkv.rows(0, count, Number::Bf16),
            positions,
            table: table.memory.address(),
            pitch: qkv.pitch as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            unused: 0,
        }
    }
}

impl NormedRope {
    pub(super) const fn new(rope: Rope, gains: HeadGains, query_heads: usize) -> Self {
        let HeadGains { query, key, eps } = gains;
        Self { rope, query_gain: query, key_gain: key, query_heads: query_heads as u32, eps }
    }
}
