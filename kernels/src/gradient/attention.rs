//! Attention inside ragged rows, and its gradient.
//!
//! Called by the trainer's `attention`. Each task is one row's key head with the query heads that share it; it takes
//! a block of queries at a time over the keys that the block sees, so that no matrix of all scores is ever held.
//! The forward pass keeps the logarithm of each softmax's sum, from which the backward pass recomputes the weights.
//! A row may have keys of a source as well (merged attention): one softmax runs over both.

mod block;
mod heads;

use std::ops::Range;

use rayon::prelude::*;

use super::Dropout;
use crate::attention::Window;
use crate::rope::RopeSpec;
use block::{Backward, Forward};
use heads::Rope;

/// Shape of attention: rows, heads, mask, rotation and dropout.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Number of queries of each row.
    pub queries: Vec<usize>,
    /// Number of keys of each row.
    pub keys: Vec<usize>,
    /// Number of keys of each row's source, which every query of the row sees and which are not rotated. They stand
    /// after the keys of all rows. Empty without sources.
    pub source_keys: Vec<usize>,
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
    /// Keys around its own position that a query sees.
    pub window: Window,
    /// Angles of the rotation of queries and keys by their positions in the row.
    pub rope: Option<RopeSpec>,
    /// Dropout of the softmax weights.
    pub dropout: Option<Dropout>,
}

/// Inputs of attention.
#[derive(Debug, Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// `[queries of all rows, heads * head_dim]`.
    pub q: &'a [f32],
    /// `[keys of all rows, then of all sources, kv_heads * head_dim]`.
    pub k: &'a [f32],
    /// `[keys of all rows, then of all sources, kv_heads * head_dim]`.
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

    /// Number of keys of all rows and sources.
    pub fn key_count(&self) -> usize {
        self.keys.iter().chain(&self.source_keys).sum()
    }

    /// The range of keys, among `keys` of the row itself, that a query sees.
    fn visible(&self, query: usize, keys: usize) -> Range<usize> {
        let Range { start, end } = self.window.visible(query, keys);
        start.min(end)..end
    }

    fn source_keys(&self, row: usize) -> usize {
        self.source_keys.get(row).copied().unwrap_or(0)
    }

    fn check(&self, inputs: AttentionInputs<'_>) {
        assert!(self.heads.is_multiple_of(self.kv_heads), "every key head serves as many query heads");
        assert!(self.rope.is_none() || self.head_dim.is_multiple_of(2), "pairs are rotated");
        assert_eq!(self.queries.len(), self.keys.len(), "every row has queries and keys");
        assert!([0, self.keys.len()].contains(&self.source_keys.len()), "every row has a source, or none has");
        assert_eq!(inputs.q.len(), self.queries.iter().sum::<usize>() * self.query_width(), "queries of all rows");
        let keys = self.key_count() * self.key_width();
        assert!(inputs.k.len() == keys && inputs.v.len() == keys, "keys and values of all rows");
    }

    fn rope(&self) -> Option<Rope> {
        let longest = self.queries.iter().chain(&self.keys).copied().max().unwrap_or(0);
        self.rope.map(|spec| Rope::new(longest, self.head_dim, spec))
    }
}

/// One row of a batch.
#[derive(Clone, Copy)]
struct Row<'a> {
    q: &'a [f32],
    own: KeysRef<'a>,
    source: KeysRef<'a>,
    queries: usize,
    /// Number of its first query in the batch.
    first_query: usize,
}

/// Keys and values of a row or of its source.
#[derive(Clone, Copy)]
struct KeysRef<'a> {
    count: usize,
    k: &'a [f32],
    v: &'a [f32],
}

/// Takes the first `len` numbers off a slice.
fn take<'a>(slice: &mut &'a [f32], len: usize) -> &'a [f32] {
    slice.split_off(..len).expect("the slice holds all rows")
}

fn take_mut<'a>(slice: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    slice.split_off_mut(..len).expect("the slice holds all rows")
}

/// The rows of a batch.
fn rows<'a>(how: &Attention, inputs: AttentionInputs<'a>) -> Vec<Row<'a>> {
    let AttentionInputs { mut q, k, v } = inputs;
    let own_numbers = how.keys.iter().sum::<usize>() * how.key_width();
    let ((mut k, mut source_k), (mut v, mut source_v)) = (k.split_at(own_numbers), v.split_at(own_numbers));
    let mut first_query = 0;
    let row = |(index, (&queries, &count)): (usize, (&usize, &usize))| {
        let numbers = count * how.key_width();
        let own = KeysRef { count, k: take(&mut k, numbers), v: take(&mut v, numbers) };
        let count = how.source_keys(index);
        let numbers = count * how.key_width();
        let source = KeysRef { count, k: take(&mut source_k, numbers), v: take(&mut source_v, numbers) };
        let row = Row { q: take(&mut q, queries * how.query_width()), own, source, queries, first_query };
        first_query += queries;
        row
    };
    how.queries.iter().zip(&how.keys).enumerate().map(row).collect()
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

/// Gradients of a row, which its heads write.
struct RowGradients<'a> {
    d_q: &'a mut [f32],
    /// Gradients of keys and of values.
    d_keys: [&'a mut [f32]; 2],
    /// Gradients of the source's keys and values.
    d_source: [&'a mut [f32]; 2],
}

/// Gradients of a key head and its query heads, as [`Forward`] gathers them.
struct HeadGradients {
    d_q: Vec<f32>,
    /// Gradients of keys and of values, those of the source first.
    d_keys: [Vec<f32>; 2],
}

impl RowGradients<'_> {
    fn write(self, how: &Attention, source_keys: usize, heads: &[HeadGradients]) {
        let source_numbers = source_keys * how.head_dim;
        for (kv_head, head) in heads.iter().enumerate() {
            heads::scatter(&head.d_q, self.d_q, how.group() * how.head_dim, kv_head);
        }
        for (index, (own, source)) in self.d_keys.into_iter().zip(self.d_source).enumerate() {
            for (kv_head, head) in heads.iter().enumerate() {
                let (of_source, of_own) = head.d_keys[index].split_at(source_numbers);
                heads::scatter(of_own, own, how.head_dim, kv_head);
                heads::scatter(of_source, source, how.head_dim, kv_head);
            }
        }
    }
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
    let [mut d_q, d_k, d_v] = gradients.each_mut().map(Vec::as_mut_slice);
    let own_numbers = how.keys.iter().sum::<usize>() * how.key_width();
    let ((mut d_k, mut d_source_k), (mut d_v, mut d_source_v)) =
        (d_k.split_at_mut(own_numbers), d_v.split_at_mut(own_numbers));
    let tasks = rows(how, inputs).into_iter().map(|row| {
        let d_q = take_mut(&mut d_q, row.queries * how.query_width());
        let [own, source] = [row.own.count, row.source.count].map(|count| count * how.key_width());
        let d_keys = [&mut d_k, &mut d_v].map(|numbers| take_mut(numbers, own));
        let d_source = [&mut d_source_k, &mut d_source_v].map(|numbers| take_mut(numbers, source));
        (row, RowGradients { d_q, d_keys, d_source })
    });
    tasks.collect::<Vec<_>>().into_par_iter().for_each(|(row, gradients)| {
        let heads: Vec<HeadGradients> = (0..how.kv_heads)
            .into_par_iter()
            .map(|kv_head| {
                let forward = Forward { how, rope: rope.as_ref(), row, kv_head };
                Backward { forward, attended, d_out }.run()
            })
            .collect();
        gradients.write(how, row.source.count, &heads);
    });
    gradients
}

#[cfg(test)]
mod tests;
