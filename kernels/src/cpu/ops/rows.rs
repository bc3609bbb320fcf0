//! Ops on rows: threads share the rows, and each row is computed by the functions of `rows`.

use std::ops::Range;

use crate::backend::{DrawnRows, HeadNorms, Lookup, Norm, RotaryHeads, RowOps, Sandwich, SeamRows};
use crate::cpu::activations::{Activations, Gain, LEAST_NUMBERS, RopeTable};
use crate::cpu::matrix::Matrix;
use crate::cpu::pool::RowPairsMut;
use crate::cpu::processor::Cpu;
use crate::cpu::rows;
use crate::sampling::DrawnIds;

impl RowOps for Cpu {
    fn gather(&self, from: &Activations, rows: &[u32], out: &mut Activations) {
        assert_eq!(from.width, out.width, "rows keep their width");
        let out = &mut out.data[..rows.len() * from.width];
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(from.width)) {
            out.copy_from_slice(from.rows(row as usize..row as usize + 1));
        }
    }

    fn embed(&self, lookup: Lookup<'_, Matrix>, ids: &[u32], out: &mut Activations) {
        let width = out.width;
        out.split(&self.pool, ids.len(), |rows, out| {
            for (&id, out) in ids[rows].iter().zip(out.chunks_exact_mut(width)) {
                read_row(lookup, id, out);
            }
        });
    }

    fn embed_drawn(&self, lookup: Lookup<'_, Matrix>, ids: DrawnRows<'_, DrawnIds>, out: &mut Activations) {
        let width = out.width;
        for (row, id) in ids.drawn.at(ids.places) {
            read_row(lookup, id, &mut out.data[row * width..][..width]);
        }
    }

    fn rms_norm(&self, x: &Activations, norm: Norm<'_, Gain>, rows: usize, out: &mut Activations) {
        out.split(&self.pool, rows, |rows, out| {
            rows::rms_norm(self.isa, x.rows(rows), &norm.gain.0, norm.eps, out);
        });
    }

    fn sandwich(&self, y: &Activations, norms: Sandwich<'_, Gain>, rows: Range<usize>, out: SeamRows<'_, Activations>) {
        let SeamRows { residual, x } = out;
        let seam = rows::Seam { post: &norms.post.0, pre: &norms.pre.0, eps: norms.eps };
        let least = LEAST_NUMBERS.div_ceil(residual.width);
        let (first, width) = (rows.start, residual.width);
        let buffers =
            RowPairsMut { first: &mut residual.data[first * width..], second: &mut x.data[first * width..], width };
        self.pool.split_row_pairs(buffers, rows.len(), least, |rows, residual, x| {
            rows::sandwich(self.isa, residual, y.rows(first + rows.start..first + rows.end), seam, x);
        });
    }

    fn rope(&self, qkv: &mut Activations, positions: &[u32], heads: RotaryHeads<'_, RopeTable, Gain>) {
        let (width, RotaryHeads { shape, table, norms }) = (qkv.width, heads);
        assert_eq!(shape.head_dim, table.head_dim, "angles are those of heads as wide");
        let fits =
            |norms: HeadNorms<'_, Gain>| [norms.query, norms.key].iter().all(|gain| gain.0.len() == shape.head_dim);
        assert!(norms.is_none_or(fits), "a norm of heads is as wide as a head");
        let heads = shape.heads + shape.kv_heads;
        qkv.split(&self.pool, positions.len(), |rows, qkv| {
            for (&position, row) in positions[rows].iter().zip(qkv.chunks_exact_mut(width)) {
                if let Some(HeadNorms { query, key, eps }) = norms {
                    let (queries, rest) = row.split_at_mut(shape.query_width());
                    rows::norm_heads(self.isa, queries, &query.0, eps);
                    rows::norm_heads(self.isa, &mut rest[..shape.kv_width()], &key.0, eps);
                }
                rows::rope(self.isa, row, heads, table.head_dim, table.angles(position));
            }
        });
    }

    fn geglu(&self, gate_up: &Activations, rows: usize, out: &mut Activations) {
        let width = out.width;
        out.split(&self.pool, rows, |rows, out| rows::geglu(self.isa, gate_up.rows(rows), width, out));
    }
}

fn read_row(lookup: Lookup<'_, Matrix>, id: u32, out: &mut [f32]) {
    match lookup.own {
        Some(own) if own.id == id => own.row.read_row(0, 1.0, out),
        _ => lookup.table.read_row(id as usize, lookup.scale, out),
    }
}
