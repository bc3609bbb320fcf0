//! Bytes that ops on rows must move.

use std::ops::Range;

use super::device::Profiled;
use super::profile::Op;
use super::storage::{FLOAT_BYTES, ProfiledMatrix};
use crate::backend::{Backend, DrawnRows, Lookup, Norm, OwnRow, RotaryHeads, RowOps, Sandwich, SeamRows};
use crate::sampling::NO_PLACE;

/// Bytes of the weights of norms of heads.
pub(super) fn norm_bytes<RopeTable, Gain>(heads: RotaryHeads<'_, RopeTable, Gain>) -> usize {
    if heads.norms.is_some() { 2 * heads.shape.head_dim * FLOAT_BYTES } else { 0 }
}

fn inner_lookup<Matrix>(lookup: Lookup<'_, ProfiledMatrix<Matrix>>) -> Lookup<'_, Matrix> {
    let own = lookup.own.map(|own| OwnRow { id: own.id, row: &own.row.inner });
    Lookup { table: &lookup.table.inner, scale: lookup.scale, own }
}

impl<B: Backend> RowOps for Profiled<B> {
    fn gather(&self, from: &Self::Activations, rows: &[u32], out: &mut Self::Activations) {
        let bytes = from.bytes(rows.len()) + out.bytes(rows.len());
        self.measure(Op::of("gather"), bytes, |inner| inner.gather(&from.inner, rows, &mut out.inner));
    }

    fn embed(&self, lookup: Lookup<'_, Self::Matrix>, ids: &[u32], out: &mut Self::Activations) {
        let bytes = ids.len() * lookup.table.row_bytes() + out.bytes(ids.len());
        self.measure(Op::of("embed"), bytes, |inner| inner.embed(inner_lookup(lookup), ids, &mut out.inner));
    }

    fn embed_drawn(
        &self,
        lookup: Lookup<'_, Self::Matrix>,
        ids: DrawnRows<'_, Self::Drawn>,
        out: &mut Self::Activations,
    ) {
        let rows = ids.places.iter().filter(|place| **place != NO_PLACE).count();
        let bytes = rows * lookup.table.row_bytes() + out.bytes(rows);
        self.measure(Op::of("embed_drawn"), bytes, |inner| {
            inner.embed_drawn(inner_lookup(lookup), ids, &mut out.inner);
        });
    }

    fn rms_norm(&self, x: &Self::Activations, norm: Norm<'_, Self::Gain>, rows: usize, out: &mut Self::Activations) {
        let bytes = x.bytes(rows) + out.bytes(rows) + x.width * FLOAT_BYTES;
        self.measure(Op::of("rms_norm"), bytes, |inner| inner.rms_norm(&x.inner, norm, rows, &mut out.inner));
    }

    fn sandwich(
        &self,
        y: &Self::Activations,
        norms: Sandwich<'_, Self::Gain>,
        rows: Range<usize>,
        out: SeamRows<'_, Self::Activations>,
    ) {
        let SeamRows { residual, x } = out;
        let gain_bytes = 2 * y.width * FLOAT_BYTES;
        let bytes = 2 * residual.bytes(rows.len()) + y.bytes(rows.len()) + x.bytes(rows.len()) + gain_bytes;
        let out = SeamRows { residual: &mut residual.inner, x: &mut x.inner };
        self.measure(Op::of("sandwich"), bytes, |inner| inner.sandwich(&y.inner, norms, rows, out));
    }

    fn rope(
        &self,
        qkv: &mut Self::Activations,
        positions: &[u32],
        heads: RotaryHeads<'_, Self::RopeTable, Self::Gain>,
    ) {
        let rotated = heads.shape.query_width() + heads.shape.kv_width();
        let row_bytes = 2 * qkv.numbers(rotated) + heads.shape.head_dim * FLOAT_BYTES;
        let bytes = positions.len() * row_bytes + norm_bytes(heads);
        self.measure(Op::of("rope"), bytes, |inner| inner.rope(&mut qkv.inner, positions, heads));
    }

    fn geglu(&self, gate_up: &Self::Activations, rows: usize, out: &mut Self::Activations) {
        let bytes = gate_up.bytes(rows) + out.bytes(rows);
        self.measure(Op::of("geglu"), bytes, |inner| inner.geglu(&gate_up.inner, rows, &mut out.inner));
    }
}
