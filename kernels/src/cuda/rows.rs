//! Rows of activations on a device, and the ops that take them one by one.
//!
//! Called by the backend in `cuda`. `rows.cu` has the kernels. Rows of operands are bfloat16, sums are float32; rows are a
//! multiple of 32 numbers apart, and between their width and that they are zero.

use bytemuck::NoUninit;
use half::bf16;

use super::Cuda;
use super::device::Device;
use super::memory::{Heap, Memory};
use super::product::{NONE, TILE};
use super::queue::{Queue, grown};
use crate::backend::{AttentionShape, NO_PLACE, Result};

/// Numbers at whose multiples rows begin: what the products take at once.
pub(super) const PITCH: usize = 32;
/// Threads of the kernels in `rows.cu`.
const THREADS: u32 = 256;
/// Widest row that a block of `rows.cu` keeps in registers.
const MOST_WIDTH: usize = 8192;

/// What rows hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// Operands of products and attention.
    Bf16,
    /// The residual stream, logits.
    F32,
}

impl Number {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Rows of activations.
pub struct Activations<D: Device> {
    memory: Memory<D>,
    rows: usize,
    pub(super) width: usize,
    pub(super) pitch: usize,
    pub(super) number: Number,
    /// Of logits: the best key of each [`TILE`] of a row.
    best: Option<Memory<D>>,
}

/// Norm weights as factors, `1 + w`, in float32.
pub struct Gain<D: Device> {
    pub(super) memory: Memory<D>,
    pub(super) width: usize,
}

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

impl<D: Device> Activations<D> {
    pub(super) fn new(heap: &Heap<D>, rows: usize, width: usize, number: Number) -> Result<Self> {
        let pitch = width.next_multiple_of(PITCH);
        let memory = Memory::new(heap, rows * pitch * number.bytes(), "activations")?;
        Ok(Self { memory, rows, width, pitch, number, best: None })
    }

    /// Address of the first of `count` rows from `row` on, which hold `number`s.
    pub(super) fn rows(&self, row: usize, count: usize, number: Number) -> u64 {
        assert_eq!(self.number, number, "rows of {number:?} are wanted");
        assert!(row + count <= self.rows, "{row} + {count} rows are wanted of {}", self.rows);
        self.memory.at(row * self.row_bytes(), count * self.row_bytes())
    }

    /// Bytes of the numbers in `rows` rows, without what lies between them.
    pub(super) const fn bytes(&self, rows: usize) -> usize {
        rows * self.width * self.number.bytes()
    }

    /// Bytes of the best of `rows` rows, as far as products leave them.
    pub(super) fn best_bytes(&self, rows: usize) -> usize {
        if self.best.is_some() { rows * self.width.div_ceil(TILE) * 8 } else { 0 }
    }

    /// Where a product that writes `count` rows from `row` on leaves the best of each.
    pub(super) fn best(&mut self, heap: &Heap<D>, row: usize, count: usize) -> u64 {
        let row_bytes = self.width.div_ceil(TILE) * size_of::<u64>();
        let best = self.best.get_or_insert_with(|| grown(heap, self.rows * row_bytes, "the best of logits"));
        best.at(row * row_bytes, count * row_bytes)
    }

    /// Where those of all rows are, if a product wrote the rows.
    pub(super) fn best_of_all(&self) -> u64 {
        self.best.as_ref().map_or(NONE, Memory::address)
    }

    pub(super) const fn row_bytes(&self) -> usize {
        self.pitch * self.number.bytes()
    }

    pub(super) fn upload(&mut self, queue: &Queue<D>, values: &[f32]) {
        self.best = None;
        let rows = values.len() / self.width;
        let mut bytes = vec![0_u8; rows * self.row_bytes()];
        for (row, values) in bytes.chunks_exact_mut(self.row_bytes()).zip(values.chunks_exact(self.width)) {
            write_row(values, self.number, row);
        }
        queue.write(&bytes, &self.memory, 0);
    }

    pub(super) fn download(&self, queue: &Queue<D>, rows: usize) -> Vec<f32> {
        let mut bytes = vec![0_u8; rows * self.row_bytes()];
        queue.read(&self.memory, 0, &mut bytes);
        let mut values = Vec::with_capacity(rows * self.width);
        for row in bytes.chunks_exact(self.row_bytes()) {
            let row = &row[..self.width * self.number.bytes()];
            match self.number {
                Number::Bf16 => values.extend(row.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32())),
                Number::F32 => values.extend(row.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            }
        }
        values
    }
}

/// Numbers as a device stores them; `bytes` may be longer.
pub(super) fn write_row(values: &[f32], number: Number, bytes: &mut [u8]) {
    match number {
        Number::Bf16 => {
            for (out, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                *out = bf16::from_f32(*value).to_le_bytes();
            }
        }
        Number::F32 => {
            for (out, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                *out = value.to_le_bytes();
            }
        }
    }
}

/// Parameters of the kernel `embed`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Embed {
    table: u64,
    ids: u64,
    out: u64,
    table_pitch: u32,
    out_pitch: u32,
    width: u32,
    scale: f32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct EmbedDrawn {
    embed: Embed,
    places: u64,
    table_rows: u32,
    unused: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Gather {
    from: u64,
    rows: u64,
    out: u64,
    /// In units of 16 bytes.
    pitch: u32,
    unused: u32,
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

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Geglu {
    gate_up: u64,
    out: u64,
    in_pitch: u32,
    out_pitch: u32,
    width: u32,
    unused: u32,
}

impl Embed {
    fn new<D: Device>(table: &super::Matrix<D>, ids: u64, (scale, rows): (f32, usize), out: &Activations<D>) -> Self {
        assert_eq!(out.width, table.cols, "rows are as wide as the table");
        Self {
            table: table.address(),
            ids,
            out: out.rows(0, rows, Number::F32),
            table_pitch: table.pitch as u32,
            out_pitch: out.pitch as u32,
            width: out.width as u32,
            scale,
        }
    }
}

/// Bytes of shared memory for the sums of the warps, twice.
const NORM_ROOM: usize = 2 * (THREADS as usize / 32) * 4;

impl<D: Device> Cuda<D> {
    pub(super) fn float32(
        &self,
        rows: usize,
        width: usize,
        fill: impl Fn(usize, &mut [f32]),
        purpose: &'static str,
    ) -> Result<Memory<D>> {
        let pitch = width.next_multiple_of(8);
        let mut bytes = vec![0; rows * pitch * 4];
        let mut values = vec![0.0; width];
        for (row, out) in bytes.chunks_exact_mut(pitch * 4).enumerate() {
            fill(row, &mut values);
            write_row(&values, Number::F32, out);
        }
        let memory = Memory::new(&self.heap, bytes.len(), purpose)?;
        self.queue().write(&bytes, &memory, 0);
        Ok(memory)
    }

    pub(super) fn embed_rows(&self, table: &super::Matrix<D>, ids: &[u32], scale: f32, out: &mut Activations<D>) {
        assert!(ids.iter().all(|&id| (id as usize) < table.rows), "an id has no row in the table");
        let [ids_at] = self.queue().lists([ids]);
        let params = Embed::new(table, ids_at, (scale, ids.len()), out);
        self.queue().launch("embed", [ids.len() as u32, 1, 1], (THREADS, 0), &params);
    }

    pub(super) fn embed_drawn_rows(
        &self,
        table: &super::Matrix<D>,
        (drawn, places): (&super::Drawn<D>, &[u32]),
        scale: f32,
        out: &mut Activations<D>,
    ) {
        let is_there = |&place: &u32| place == NO_PLACE || (place as usize) < drawn.capacity();
        assert!(places.iter().all(is_there), "an id was not drawn");
        let [places_at] = self.queue().lists([places]);
        let embed = Embed::new(table, drawn.address(), (scale, places.len()), out);
        let params = EmbedDrawn { embed, places: places_at, table_rows: table.rows as u32, unused: 0 };
        self.queue().launch("embed_drawn", [places.len() as u32, 1, 1], (THREADS, 0), &params);
    }

    pub(super) fn gather_rows(&self, from: &Activations<D>, rows: &[u32], out: &mut Activations<D>) {
        assert_eq!(from.width, out.width, "rows keep their width");
        assert!(rows.iter().all(|&row| (row as usize) < from.rows), "a row is not there");
        let [rows_at] = self.queue().lists([rows]);
        let params = Gather {
            from: from.rows(0, 0, out.number),
            rows: rows_at,
            out: out.rows(0, rows.len(), out.number),
            pitch: (out.row_bytes() / 16) as u32,
            unused: 0,
        };
        self.queue().launch("gather", [rows.len() as u32, 1, 1], (THREADS, 0), &params);
    }

    pub(super) fn norm_rows(
        &self,
        x: &Activations<D>,
        gain: &Gain<D>,
        eps: f32,
        rows: usize,
        out: &mut Activations<D>,
    ) {
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
        self.queue().launch("rms_norm", [rows as u32, 1, 1], (THREADS, NORM_ROOM), &params);
    }

    pub(super) fn sandwich_rows(
        &self,
        residual: &mut Activations<D>,
        y: &Activations<D>,
        gains: crate::Sandwich<'_, Gain<D>>,
        rows: usize,
        x: &mut Activations<D>,
    ) {
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
        self.queue().launch("sandwich", [rows as u32, 1, 1], (THREADS, NORM_ROOM), &params);
    }

    pub(super) fn rope_rows(
        &self,
        qkv: &mut Activations<D>,
        positions: &[u32],
        shape: &AttentionShape,
        table: &RopeTable<D>,
    ) {
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
        self.queue().launch("rope", [positions.len() as u32, 1, 1], (THREADS, 0), &params);
    }

    pub(super) fn geglu_rows(&self, gate_up: &Activations<D>, rows: usize, out: &mut Activations<D>) {
        let width = out.width;
        assert!(gate_up.width == 2 * width && width.is_multiple_of(8), "gate and up are multiples of 8 wide");
        let params = Geglu {
            gate_up: gate_up.rows(0, rows, Number::Bf16),
            out: out.rows(0, rows, Number::Bf16),
            in_pitch: gate_up.pitch as u32,
            out_pitch: out.pitch as u32,
            width: width as u32,
            unused: 0,
        };
        let blocks = (width / 8).div_ceil(THREADS as usize) as u32;
        self.queue().launch("geglu", [rows as u32, blocks, 1], (THREADS, 0), &params);
        self.queue().moves(gate_up.bytes(rows) + out.bytes(rows));
    }
}
