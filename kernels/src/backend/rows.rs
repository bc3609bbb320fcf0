//! Ops on rows, each row by itself: lookups, norms, rotation, gated activation.
//!
//! Implemented by each backend. Sub-layers meet in [`RowOps::sandwich`].

use std::ops::Range;

use super::storage::Storage;
use crate::attention::AttentionShape;

/// Rows of a table by their ids.
#[derive(Debug)]
pub struct Lookup<'a, Matrix> {
    /// One row for each id.
    pub table: &'a Matrix,
    /// Factor of the table's rows.
    pub scale: f32,
    /// Row that stands in place of one of the table's, as for the end of an image in Gemma 3.
    pub own: Option<OwnRow<'a, Matrix>>,
}

/// A row of its own for one id, which is not scaled.
#[derive(Debug)]
pub struct OwnRow<'a, Matrix> {
    /// The id.
    pub id: u32,
    /// `[1, width]`, for [`MatrixUse::Lookup`](crate::MatrixUse::Lookup), in the table's number type.
    pub row: &'a Matrix,
}

impl<'a, Matrix> Lookup<'a, Matrix> {
    /// Lookups without a row of its own.
    pub const fn new(table: &'a Matrix, scale: f32) -> Self {
        Self { table, scale, own: None }
    }
}

impl<Matrix> Clone for Lookup<'_, Matrix> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Matrix> Copy for Lookup<'_, Matrix> {}

impl<Matrix> Clone for OwnRow<'_, Matrix> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Matrix> Copy for OwnRow<'_, Matrix> {}

/// Token ids that rows take from a list of drawn ids.
#[derive(Debug)]
pub struct DrawnRows<'a, Drawn> {
    /// The list.
    pub drawn: &'a Drawn,
    /// Index of each row's id in the list, or [`NO_PLACE`](crate::NO_PLACE).
    pub places: &'a [u32],
}

/// A norm.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a, Gain> {
    /// Its weight.
    pub gain: &'a Gain,
    /// Added to the mean of squares.
    pub eps: f32,
}

/// The two norms of a [`RowOps::sandwich`].
#[derive(Debug, Clone, Copy)]
pub struct Sandwich<'a, Gain> {
    /// Norm of the sub-layer's output.
    pub post: &'a Gain,
    /// Norm before the next sub-layer.
    pub pre: &'a Gain,
    /// Epsilon of both.
    pub eps: f32,
}

/// Rows that a [`RowOps::sandwich`] writes.
#[derive(Debug)]
pub struct SeamRows<'a, Activations> {
    /// The residual stream, which the sub-layer's output is added to.
    pub residual: &'a mut Activations,
    /// The normed input of the next sub-layer.
    pub x: &'a mut Activations,
}

/// Norms of query and key heads: a head is normed by itself, all of its kind by the same weight, `[head_dim]`.
#[derive(Debug)]
pub struct HeadNorms<'a, Gain> {
    /// Weight for query heads.
    pub query: &'a Gain,
    /// Weight for key heads.
    pub key: &'a Gain,
    /// Epsilon of both.
    pub eps: f32,
}

impl<Gain> Clone for HeadNorms<'_, Gain> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Gain> Copy for HeadNorms<'_, Gain> {}

/// Heads to rotate, and their angles.
#[derive(Debug)]
pub struct RotaryHeads<'a, RopeTable, Gain> {
    /// How many heads, and how wide.
    pub shape: &'a AttentionShape,
    /// Angles of every position.
    pub table: &'a RopeTable,
    /// Norms before the rotation, as in Gemma 3.
    pub norms: Option<HeadNorms<'a, Gain>>,
}

impl<RopeTable, Gain> Clone for RotaryHeads<'_, RopeTable, Gain> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<RopeTable, Gain> Copy for RotaryHeads<'_, RopeTable, Gain> {}

/// Ops on rows.
pub trait RowOps: Storage {
    /// Copies rows: `out[i] = from[rows[i]]`.
    fn gather(&self, from: &Self::Activations, rows: &[u32], out: &mut Self::Activations);

    /// `out[i] = table[ids[i]] * scale`, or the id's own row.
    fn embed(&self, lookup: Lookup<'_, Self::Matrix>, ids: &[u32], out: &mut Self::Activations);

    /// [`Self::embed`] of `drawn[places[i]]`, ids that the host may not know yet. Rows with
    /// [`NO_PLACE`](crate::NO_PLACE) are unchanged; rows whose draw failed are unspecified.
    fn embed_drawn(
        &self,
        lookup: Lookup<'_, Self::Matrix>,
        ids: DrawnRows<'_, Self::Drawn>,
        out: &mut Self::Activations,
    );

    /// `out = x * rsqrt(mean(x^2) + eps) * (1 + w)`, in float32, for each of the first `rows` rows.
    fn rms_norm(&self, x: &Self::Activations, norm: Norm<'_, Self::Gain>, rows: usize, out: &mut Self::Activations);

    /// The seam between two sub-layers in one pass, for each of the first `rows` rows:
    /// `residual += rms_norm(y, post); x = rms_norm(residual, pre)`.
    fn sandwich(
        &self,
        y: &Self::Activations,
        norms: Sandwich<'_, Self::Gain>,
        rows: Range<usize>,
        out: SeamRows<'_, Self::Activations>,
    );

    /// Norms query and key heads where there are norms, then rotates them in half-split pairs `(i, i + head_dim / 2)`,
    /// in place, row `i` by `positions[i]`. Norms are in float32: `x * rsqrt(mean(x^2) + eps) * (1 + w)` over a head. A
    /// row is `[heads + kv_heads (+ anything)] * head_dim` wide.
    fn rope(&self, qkv: &mut Self::Activations, positions: &[u32], heads: RotaryHeads<'_, Self::RopeTable, Self::Gain>);

    /// `out[:, j] = gelu_tanh(gate_up[:, j]) * gate_up[:, width + j]`, for each of the first `rows` rows.
    fn geglu(&self, gate_up: &Self::Activations, rows: usize, out: &mut Self::Activations);
}
