//! Attention over ragged rows, one row after another.
//!
//! Called through `unfused`. Holds the scores of one row at a time, but keeps those of all rows for their gradients.

use candle_core::{D, DType, Device, Tensor};
use kernels::gradient::{Attention, Dropout};
use kernels::{RopeSpec, Window};

use super::dropout;
use crate::training::Result;

/// Number added to the scores of masked keys: their probabilities are exactly zero.
const OUT_OF_SIGHT: f64 = -1e30;

/// `softmax(mask(softcap(q k^T * scale))) v` of each row. `q` is `[query tokens, heads * head_dim]`, `k` and `v` are
/// `[key tokens, then source tokens, kv_heads * head_dim]`; the result is as `q`.
///
/// # Errors
/// When the tensor library refuses.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attention) -> Result<Tensor> {
    let (mut query, mut key, mut source_key) = (0, 0, how.keys.iter().sum());
    let mut rows = Vec::with_capacity(how.queries.len());
    for (row, (&queries, &keys)) in how.queries.iter().zip(&how.keys).enumerate() {
        let keys_of = |x: &Tensor, start, count| heads(&x.narrow(0, start, count)?, how.kv_heads, how);
        let own_q = heads(&q.narrow(0, query, queries)?, how.heads, how)?;
        let (own_k, own_v) = (keys_of(k, key, keys)?, keys_of(v, key, keys)?);
        let (own_q, own_k) = match how.rope {
            Some(spec) => (rotate(&own_q, spec)?, rotate(&own_k, spec)?),
            None => (own_q, own_k),
        };
        let count = how.source_keys.get(row).copied().unwrap_or(0);
        let (all_k, all_v) = if count == 0 {
            (own_k, own_v)
        } else {
            let (source_k, source_v) = (keys_of(k, source_key, count)?, keys_of(v, source_key, count)?);
            (Tensor::cat(&[source_k, own_k], 1)?, Tensor::cat(&[source_v, own_v], 1)?)
        };
        rows.push(attend(&own_q, [&all_k, &all_v], how, row)?);
        source_key += count;
        (query, key) = (query + queries, key + keys);
    }
    Ok(Tensor::cat(&rows, 0)?)
}

/// `[tokens, heads * head_dim]` as `[heads, tokens, head_dim]`.
fn heads(x: &Tensor, count: usize, how: &Attention) -> Result<Tensor> {
    Ok(x.reshape((x.dim(0)?, count, how.head_dim))?.transpose(0, 1)?.contiguous()?)
}

/// Attention of one row, whose queries and keys are rotated; those of its source come first. The queries of the heads
/// that share keys are taken together, as if they were one longer row.
fn attend(q: &Tensor, [k, v]: [&Tensor; 2], how: &Attention, row: usize) -> Result<Tensor> {
    let (queries, keys) = (q.dim(1)?, k.dim(1)?);
    let source_keys = how.source_keys.get(row).copied().unwrap_or(0);
    let group = how.heads / how.kv_heads;
    let q = q.reshape((how.kv_heads, group * queries, how.head_dim))?;
    let scores = q.matmul(&k.t()?)?.to_dtype(DType::F32)?.affine(f64::from(how.scale), 0.0)?;
    let scores = match how.softcap.map(f64::from) {
        Some(cap) => scores.affine(1.0 / cap, 0.0)?.tanh()?.affine(cap, 0.0)?,
        None => scores,
    };
    let scores = scores.reshape((how.heads, queries, keys))?;
    let scores = match mask(queries, [source_keys, keys - source_keys], how.window, scores.device())? {
        Some(mask) => scores.broadcast_add(&mask)?,
        None => scores,
    };
    let probabilities = softmax(&scores)?.to_dtype(v.dtype())?;
    let probabilities = match how.dropout {
        // Rows of one length must not drop the same numbers.
        Some(Dropout { rate, key }) => dropout(&probabilities, Dropout { rate, key: key.wrapping_add(row as u64) })?,
        None => probabilities,
    };
    let attended = probabilities.reshape((how.kv_heads, group * queries, keys))?.matmul(v)?;
    let attended = attended.reshape((how.heads, queries, how.head_dim))?.transpose(0, 1)?;
    Ok(attended.reshape((queries, how.heads * how.head_dim))?)
}

/// Rotates by positions from 0. A pair is a number of the first half and its counterpart in the second.
fn rotate(x: &Tensor, spec: RopeSpec) -> Result<Tensor> {
    let (_, tokens, head_dim) = x.dims3()?;
    let half = head_dim / 2;
    let frequencies = spec.frequencies(head_dim);
    let angles: Vec<f32> =
        (0..tokens).flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency)).collect();
    let angles = Tensor::from_vec(angles, (tokens, half), x.device())?;
    let (sin, cos) = (angles.sin()?.to_dtype(x.dtype())?, angles.cos()?.to_dtype(x.dtype())?);
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
    let turned_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
    Ok(Tensor::cat(&[turned_first, turned_second], D::Minus1)?)
}

/// Mask `[queries, keys of the source, then of the row]` to be added to the scores; `None` if every query sees every
/// key.
fn mask(queries: usize, keys: [usize; 2], window: Window, device: &Device) -> Result<Option<Tensor>> {
    let [source_keys, keys] = keys;
    let furthest = queries.max(keys);
    let [left, right] = [window.left, window.right].map(|limit| limit.filter(|limit| *limit < furthest));
    if left.is_none() && right.is_none() {
        return Ok(None);
    }
    let positions = |count: usize| Tensor::arange(0.0_f32, count as f32, device);
    let distance = positions(queries)?.unsqueeze(1)?.broadcast_sub(&positions(keys)?.unsqueeze(0)?)?;
    let behind = distance.le(left.unwrap_or(furthest) as f64)?;
    let seen = (behind * distance.ge(-(right.unwrap_or(furthest) as f64))?)?;
    let own = seen.to_dtype(DType::F32)?.affine(-OUT_OF_SIGHT, OUT_OF_SIGHT)?;
    if source_keys == 0 {
        return Ok(Some(own));
    }
    Ok(Some(Tensor::cat(&[Tensor::zeros((queries, source_keys), DType::F32, device)?, own], 1)?))
}

/// Softmax over the last dimension. The largest score is only subtracted, so no gradient flows through it.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    let largest = scores.max_keepdim(D::Minus1)?.detach();
    let powers = scores.broadcast_sub(&largest)?.exp()?;
    Ok(powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?)
}
