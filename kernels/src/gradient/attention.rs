//! Attention inside ragged rows, and its gradient.
//!
//! Called by the trainer's `attention`. Each task is one row's key head with the query heads that share it; it takes
//! a block of queries at a time over the keys that the block sees, so that no matrix of all scores is ever held.
//! The forward pass keeps the logarithm of each softmax's sum, from which the backward pass recomputes the weights.

mod block;
mod heads;

use std::ops::Range;

use rayon::prelude::*;

use super::Dropout;
use block::{Backward, Forward};
use heads::Rope;

/// Shape of attention: rows, heads, mask, rotation and dropout.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Number of queries of each row.
    pub queries: Vec<usize>,
    /// Number of keys of each row.
    pub keys: Vec<usize>,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Keeps scores within `(-softcap, softcap)`.
    pub softcap: Option<f32>,
    /// Whether a query sees keys up to its own position only.
    pub causal: bool,
    /// Window. If causal: number of last positions that are seen, including its own. Otherwise: largest distance that
    /// is seen.
    pub window: Option<usize>,
    /// Base of the rotation of queries and keys by their positions in the row.
    pub rope_theta: Option<f32>,
    /// Dropout of the softmax weights.
    pub dropout: Option<Dropout>,
}

/// Inputs of attention.
#[derive(Debug, Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// `[queries of all rows, heads * head_dim]`.
    pub q: &'a [f32],
    /// `[keys of all rows, kv_heads * head_dim]`.
    pub k: &'a [f32],
    /// `[keys of all rows, kv_heads * head_dim]`.
    pub v: &'a [f32],
}

/// Results of attention, which the backward pass reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Attended {
    /// `[queries of all rows, heads * head_dim]`.
    pub out: Vec<f32>,
    /// Logarithm of the sum of exponentials of each `[query, head]`.
    pub log_sums: Vec<f32>,
}

/// [`Attended`], borrowed.
#[derive(Debug, Clone, Copy)]
pub struct AttendedRef<'a> {
    /// The field of this name in [`Attended`].
    pub out: &'a [f32],
    /// The field of this name in [`Attended`].
    pub log_sums: &'a [f32],
}

impl Attended {
    /// The results, borrowed for a backward pass.
    pub fn borrowed(&self) -> AttendedRef<'_> {
        AttendedRef { out: &self.out, log_sums: &self.log_sums }
    }
}

impl Attention {
    /// Width of a query: all heads.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of a key: all heads of keys.
    pub fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Number of query heads that share a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The range of keys, among `keys`, that a query sees.
    fn visible(&self, query: usize, keys: usize) -> Range<usize> {
        let behind = self.window.map_or(0, |window| {
            if self.causal { (query + 1).saturating_sub(window) } else { query.saturating_sub(window) }
        });
        let ahead = match (self.causal, self.window) {
            (true, _) => query + 1,
            (false, Some(window)) => query.saturating_add(window + 1),
            (false, None) => keys,
        };
        let end = ahead.min(keys);
        behind.min(end)..end
    }

    fn check(&self, inputs: AttentionInputs<'_>) {
        assert!(self.heads.is_multiple_of(self.kv_heads), "every key head serves as many query heads");
        assert!(self.rope_theta.is_none() || self.head_dim.is_multiple_of(2), "pairs are rotated");
        assert_eq!(self.queries.len(), self.keys.len(), "every row has queries and keys");
        assert_eq!(inputs.q.len(), self.queries.iter().sum::<usize>() * self.query_width(), "queries of all rows");
        let keys = self.keys.iter().sum::<usize>() * self.key_width();
        assert!(inputs.k.len() == keys && inputs.v.len() == keys, "keys and values of all rows");
    }

    fn rope(&self) -> Option<Rope> {
        let longest = self.queries.iter().chain(&self.keys).copied().max().unwrap_or(0);
        self.rope_theta.map(|theta| Rope::new(longest, self.head_dim, theta))
    }
}

/// One row of a batch.
#[derive(Clone, Copy)]
struct Row<'a> {
    inputs: AttentionInputs<'a>,
    queries: usize,
    keys: usize,
    /// Number of its first query in the batch.
    first_query: usize,
}

/// Takes the first `len` numbers off a slice.
fn take<'a>(slice: &mut &'a [f32], len: usize) -> &'a [f32] {
    slice.split_off(..len).expect("the slice holds all rows")
}

fn take_mut<'a>(slice: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    slice.split_off_mut(..len).expect("the slice holds all rows")
}

/// The rows of a batch.
fn rows<'a>(how: &Attention, mut inputs: AttentionInputs<'a>) -> Vec<Row<'a>> {
    let mut first_query = 0;
    let row = |(&queries, &keys): (&usize, &usize)| {
        let q = take(&mut inputs.q, queries * how.query_width());
        let k = take(&mut inputs.k, keys * how.key_width());
        let v = take(&mut inputs.v, keys * how.key_width());
        let row = Row { inputs: AttentionInputs { q, k, v }, queries, keys, first_query };
        first_query += queries;
        row
    };
    how.queries.iter().zip(&how.keys).map(row).collect()
}

/// `softmax(mask(softcap(scale * q . k))) . v` for each row and head.
///
/// # Panics
/// When the inputs are not as long as the rows say.
pub fn attend(how: &Attention, inputs: AttentionInputs<'_>) -> Attended {
    how.check(inputs);
    let rope = how.rope();
    let mut out = vec![0.0; inputs.q.len()];
    let mut log_sums = vec![0.0; inputs.q.len() / how.head_dim];
    let (mut out_left, mut sums_left) = (out.as_mut_slice(), log_sums.as_mut_slice());
    let rows = rows(how, inputs);
    let tasks = rows.into_iter().map(|row| {
        let out = take_mut(&mut out_left, row.queries * how.query_width());
        (row, out, take_mut(&mut sums_left, row.queries * how.heads))
    });
    tasks.collect::<Vec<_>>().into_par_iter().for_each(|(row, out, log_sums)| {
        let heads: Vec<Attended> = (0..how.kv_heads)
            .into_par_iter()
            .map(|kv_head| Forward { how, rope: rope.as_ref(), row, kv_head }.run())
            .collect();
        for (kv_head, head) in heads.iter().enumerate() {
            heads::scatter(&head.out, out, how.group() * how.head_dim, kv_head);
            heads::scatter(&head.log_sums, log_sums, how.group(), kv_head);
        }
    });
    Attended { out, log_sums }
}

/// The gradients of queries, keys and values, from the gradient of the result.
///
/// # Panics
/// When the inputs, `attended` or `d_out` are not as long as the rows say.
pub fn attend_backward(
    how: &Attention,
    inputs: AttentionInputs<'_>,
    attended: AttendedRef<'_>,
    d_out: &[f32],
) -> [Vec<f32>; 3] {
    how.check(inputs);
    assert!(attended.out.len() == inputs.q.len() && d_out.len() == inputs.q.len(), "a gradient for every result");
    assert_eq!(attended.log_sums.len() * how.head_dim, inputs.q.len(), "a sum for every query and head");
    let rope = how.rope();
    let mut gradients = [inputs.q, inputs.k, inputs.v].map(|input| vec![0.0; input.len()]);
    let [mut d_q, mut d_k, mut d_v] = gradients.each_mut().map(Vec::as_mut_slice);
    let tasks = rows(how, inputs).into_iter().map(|row| {
        let d_q = take_mut(&mut d_q, row.queries * how.query_width());
        let keys = row.keys * how.key_width();
        (row, [d_q, take_mut(&mut d_k, keys), take_mut(&mut d_v, keys)])
    });
    tasks.collect::<Vec<_>>().into_par_iter().for_each(|(row, gradients)| {
        let heads: Vec<[Vec<f32>; 3]> = (0..how.kv_heads)
            .into_par_iter()
            .map(|kv_head| {
                let forward = Forward { how, rope: rope.as_ref(), row, kv_head };
                Backward { forward, attended, d_out }.run()
            })
            .collect();
        let widths = [how.group() * how.head_dim, how.head_dim, how.head_dim];
        for (index, (gradient, width)) in gradients.into_iter().zip(widths).enumerate() {
            for (kv_head, head) in heads.iter().enumerate() {
                heads::scatter(&head[index], gradient, width, kv_head);
            }
        }
    });
    gradients
}

#[cfg(test)]
mod tests;
