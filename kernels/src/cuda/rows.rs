//! Ops on rows: lookups, norms, rotation, the gated activation.
//!
//! `rows.cu` has the kernels: one block a row. `norm` and `rope` have the parameters of their kernels.

use std::ops::Range;

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::matrix::Matrix;
use super::norm::{Gain, NORM_ROOM, RmsNorm, Seam};
use super::number::Number;
use super::rope::{HeadGains, NormedRope, Rope, RopeTable};
use super::sample::Drawn;
use crate::backend::{DrawnRows, Lookup, Norm, RotaryHeads, RowOps, Sandwich, SeamRows};
use crate::sampling::NO_PLACE;

/// Threads of the kernels in `rows.cu`.
const THREADS: u32 = 256;

/// Parameters of the kernel `embed`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Embed {
    table: u64,
    ids: u64,
    out: u64,
    own: u64,
    table_pitch: u32,
    out_pitch: u32,
    width: u32,
    scale: f32,
    own_id: u32,
    unused: u32,
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
struct Geglu {
    gate_up: u64,
    out: u64,
    in_pitch: u32,
    out_pitch: u32,
    width: u32,
    unused: u32,
}

impl Embed {
    /// Rows `0 .. rows` of `out`; `ids` is the address of the list of ids.
    fn new<D: Device>(lookup: Lookup<'_, Matrix<D>>, ids: u64, rows: usize, out: &Activations<D>) -> Self {
        let Lookup { table, scale, own } = lookup;
        assert_eq!(out.width, table.cols, "rows are as wide as the table");
        assert!(own.is_none_or(|own| own.row.cols == table.cols), "a row of its own is as wide as the table");
        Self {
            table: table.address(),
            ids,
            out: out.rows(0, rows, Number::F32),
            table_pitch: table.pitch as u32,
            out_pitch: out.pitch as u32,
            width: out.width as u32,
            scale,
            own: own.map_or(0, |own| own.row.address()),
            // No id of a table is that large.
            own_id: own.map_or(u32::MAX, |own| own.id),
            unused: 0,
        }
    }
}

impl<D: Device> RowOps for Cuda<D> {
    fn gather(&self, from: &Activations<D>, rows: &[u32], out: &mut Activations<D>) {
        assert_eq!(from.width, out.width, "rows keep their width");
        assert!(rows.iter().all(|&row| (row as usize) < from.count()), "a row is not there");
        let [rows_at] = self.queue().lists([rows]);
        let params = Gather {
            from: from.rows(0, 0, out.number),
            rows: rows_at,
            out: out.rows(0, rows.len(), out.number),
            pitch: (out.row_bytes() / 16) as u32,
            unused: 0,
        };
        self.queue().launch("gather", Blocks::per_row(rows.len(), THREADS), &params);
    }

    fn embed(&self, lookup: Lookup<'_, Matrix<D>>, ids: &[u32], out: &mut Activations<D>) {
        assert!(ids.iter().all(|&id| (id as usize) < lookup.table.rows), "an id has no row in the table");
        let [ids_at] = self.queue().lists([ids]);
        let params = Embed::new(lookup, ids_at, ids.len(), out);
        self.queue().launch("embed", Blocks::per_row(ids.len(), THREADS), &params);
    }

    fn embed_drawn(&self, lookup: Lookup<'_, Matrix<D>>, ids: DrawnRows<'_, Drawn<D>>, out: &mut Activations<D>) {
        let DrawnRows { drawn, places } = ids;
        let is_there = |&place: &u32| place == NO_PLACE || (place as usize) < drawn.capacity();
        assert!(places.iter().all(is_there), "an id was not drawn");
        let [places_at] = self.queue().lists([places]);
        let embed = Embed::new(lookup, drawn.address(), places.len(), out);
        let params = EmbedDrawn { embed, places: places_at, table_rows: lookup.table.rows as u32, unused: 0 };
        self.queue().launch("embed_drawn", Blocks::per_row(places.len(), THREADS), &params);
    }

    fn rms_norm(&self, x: &Activations<D>, norm: Norm<'_, Gain<D>>, rows: usize, out: &mut Activations<D>) {
        let params = RmsNorm::new(x, norm, rows, out);
        self.queue().launch("rms_norm", Blocks::per_row(rows, THREADS).with_shared(NORM_ROOM), &params);
    }

    fn sandwich(
        &self,
        y: &Activations<D>,
        norms: Sandwich<'_, Gain<D>>,
        rows: Range<usize>,
        out: SeamRows<'_, Activations<D>>,
    ) {
        let blocks = Blocks::per_row(rows.len(), THREADS);
        let params = Seam::new(y, norms, rows, out);
        self.queue().launch("sandwich", blocks.with_shared(NORM_ROOM), &params);
    }

    fn rope(&self, qkv: &mut Activations<D>, positions: &[u32], heads: RotaryHeads<'_, RopeTable<D>, Gain<D>>) {
        let RotaryHeads { shape, table, norms } = heads;
        table.check(positions);
        let [positions_at] = self.queue().lists([positions]);
        let rope = Rope::new(qkv, positions.len(), positions_at, heads);
        let blocks = Blocks::per_row(positions.len(), THREADS);
        match norms.map(|norms| HeadGains::new(norms, table.head_dim)) {
            None => self.queue().launch("rope", blocks, &rope),
            Some(gains) => {
                let params = NormedRope::new(rope, gains, shape.heads);
                self.queue().launch("normed_rope", blocks, &params);
            }
        }
    }

    fn geglu(&self, gate_up: &Activations<D>, rows: usize, out: &mut Activations<D>) {
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
        let blocks = (width / 8).div_ceil(THREADS as usize);
        self.queue().launch("geglu", Blocks::per_row(rows, THREADS).times(blocks), &params);
        self.queue().moves(gate_up.bytes(rows) + out.bytes(rows));
    }
}
