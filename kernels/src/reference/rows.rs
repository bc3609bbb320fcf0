//! Ops on rows, row by row.

use std::ops::Range;

use super::activations::Activations;
use super::device::Reference;
use super::formulas::{gelu_tanh, rms_norm, rope_angle};
use super::matrix::Matrix;
use super::storage::RopeTable;
use crate::backend::{DrawnRows, HeadNorms, Lookup, Norm, RotaryHeads, RowOps, Sandwich, SeamRows};
use crate::sampling::DrawnIds;

impl RowOps for Reference {
    fn gather(&self, from: &Activations, rows: &[u32], out: &mut Activations) {
        for (index, &row) in rows.iter().enumerate() {
            out.set(index, from.row(row as usize));
        }
    }

    fn embed(&self, lookup: Lookup<'_, Matrix>, ids: &[u32], out: &mut Activations) {
        for (index, &id) in ids.iter().enumerate() {
            out.set(index, &found(lookup, id));
        }
    }

    fn embed_drawn(&self, lookup: Lookup<'_, Matrix>, ids: DrawnRows<'_, DrawnIds>, out: &mut Activations) {
        for (row, id) in ids.drawn.at(ids.places) {
            out.set(row, &found(lookup, id));
        }
    }

    fn rms_norm(&self, x: &Activations, norm: Norm<'_, Vec<f32>>, rows: usize, out: &mut Activations) {
        for row in 0..rows {
            out.set(row, &rms_norm(x.row(row), norm.gain, norm.eps));
        }
    }

    fn sandwich(
        &self,
        y: &Activations,
        norms: Sandwich<'_, Vec<f32>>,
        rows: Range<usize>,
        out: SeamRows<'_, Activations>,
    ) {
        let SeamRows { residual, x } = out;
        for row in rows {
            let normed = rms_norm(y.row(row), norms.post, norms.eps);
            let sum: Vec<f32> = residual.row(row).iter().zip(normed).map(|(r, y)| r + y).collect();
            residual.set(row, &sum);
            x.set(row, &rms_norm(residual.row(row), norms.pre, norms.eps));
        }
    }

    fn rope(&self, qkv: &mut Activations, positions: &[u32], heads: RotaryHeads<'_, RopeTable, Vec<f32>>) {
        let RotaryHeads { shape, table, norms } = heads;
        let RopeTable { head_dim, spec } = *table;
        for (row, &position) in positions.iter().enumerate() {
            let mut rotated = qkv.row(row).to_vec();
            let heads = rotated.chunks_mut(head_dim).take(shape.heads + shape.kv_heads);
            for (index, head) in heads.enumerate() {
                let old = match norms {
                    None => head.to_vec(),
                    Some(HeadNorms { query, eps, .. }) if index < shape.heads => rms_norm(head, query, eps),
                    Some(HeadNorms { key, eps, .. }) => rms_norm(head, key, eps),
                };
                for i in 0..head_dim / 2 {
                    let (sin, cos) = rope_angle(position as usize, i, head_dim, spec).sin_cos();
                    head[i] = old[i] * cos - old[i + head_dim / 2] * sin;
                    head[i + head_dim / 2] = old[i + head_dim / 2] * cos + old[i] * sin;
                }
            }
            qkv.set(row, &rotated);
        }
    }

    fn geglu(&self, gate_up: &Activations, rows: usize, out: &mut Activations) {
        let width = out.width;
        for row in 0..rows {
            let (gate, up) = gate_up.row(row).split_at(width);
            let gated: Vec<f32> = gate.iter().zip(up).map(|(g, u)| gelu_tanh(*g) * u).collect();
            out.set(row, &gated);
        }
    }
}

fn found(lookup: Lookup<'_, Matrix>, id: u32) -> Vec<f32> {
    match lookup.own {
        Some(own) if own.id == id => own.row.row(0).to_vec(),
        _ => lookup.table.row(id as usize).iter().map(|w| w * lookup.scale).collect(),
    }
}
