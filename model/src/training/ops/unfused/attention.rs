//! Attention over ragged rows, one row after another.
//!
//! Called through `unfused`. Holds the scores of one row at a time, but keeps those of all rows for their gradients.

use candle_core::{D, DType, Device, Tensor};
use kernels::gradient::{Attention, Dropout};

use super::dropout;
use crate::training::Result;

/// Number added to the scores of masked keys: their probabilities are exactly zero.
const OUT_OF_SIGHT: f64 = -1e30;

/// `softmax(mask(softcap(q k^T * scale))) v` of each row. `q` is `[query tokens, heads * head_dim]`, `k` and `v` are
/// `[key tokens, kv_heads * head_dim]`; the result is as `q`.
///
/// # Errors
/// When the tensor library refuses.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attention) -> Result<Tensor> {
    let mut starts = (0, 0);
    let mut rows = Vec::with_capacity(how.queries.len());
    for (row, (&queries, &keys)) in how.queries.iter().zip(&how.keys).enumerate() {
        let q = heads(&q.narrow(0, starts.0, queries)?, how.heads, how)?;
        let k = heads(&k.narrow(0, starts.1, keys)?, how.kv_heads, how)?;
        let v = heads(&v.narrow(0, starts.1, keys)?, how.kv_heads, how)?;
        rows.push(attend(&q, &k, &v, how, row)?);
        starts = (starts.0 + queries, starts.1 + keys);
    }
    Ok(Tensor::cat(&rows, 0)?)
}

/// `[tokens, heads * head_dim]` as `[heads, tokens, head_dim]`.
fn heads(x: &Tensor, count: usize, how: &Attention) -> Result<Tensor> {
    Ok(x.reshape((x.dim(0)?, count, how.head_dim))?.transpose(0, 1)?.contiguous()?)
}

/// Attention of one row. The queries of the heads that share keys are taken together, as if they were one longer row.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attention, row: usize) -> Result<Tensor> {
    let (queries, keys) = (q.dim(1)?, k.dim(1)?);
    let (q, k) = match how.rope_theta {
        Some(theta) => (rotate(q, theta)?, rotate(k, theta)?),
        None => (q.clone(), k.clone()),
    };
    let group = how.heads / how.kv_heads;
    let q = q.reshape((how.kv_heads, group * queries, how.head_dim))?;
    let scores = q.matmul(&k.t()?)?.to_dtype(DType::F32)?.affine(f64::from(how.scale), 0.0)?;
    let scores = match how.softcap.map(f64::from) {
        Some(cap) => scores.affine(1.0 / cap, 0.0)?.tanh()?.affine(cap, 0.0)?,
        None => scores,
    };
    let scores = scores.reshape((how.heads, queries, keys))?;
    let scores = match mask(queries, keys, how, scores.device())? {
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
fn rotate(x: &Tensor, theta: f32) -> Result<Tensor> {
    let (_, tokens, head_dim) = x.dims3()?;
    let half = head_dim / 2;
    let frequencies: Vec<f32> = (0..half).map(|pair| 1.0 / theta.powf((2 * pair) as f32 / head_dim as f32)).collect();
    let angles: Vec<f32> =
        (0..tokens).flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency)).collect();
    let angles = Tensor::from_vec(angles, (tokens, half), x.device())?;
    let (sin, cos) = (angles.sin()?.to_dtype(x.dtype())?, angles.cos()?.to_dtype(x.dtype())?);
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
    let turned_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
    Ok(Tensor::cat(&[turned_first, turned_second], D::Minus1)?)
}

/// Mask `[queries, keys]` to be added to the scores; `None` if every query sees every key.
fn mask(queries: usize, keys: usize, how: &Attention, device: &Device) -> Result<Option<Tensor>> {
    let furthest = queries.max(keys);
    let window = how.window.filter(|window| *window < furthest);
    if !how.causal && window.is_none() {
        return Ok(None);
    }
    let positions = |count: usize| Tensor::arange(0.0_f32, count as f32, device);
    let distance = positions(queries)?.unsqueeze(1)?.broadcast_sub(&positions(keys)?.unsqueeze(0)?)?;
    let seen = match (how.causal, window) {
        (true, None) => distance.ge(0.0)?,
        (true, Some(window)) => (distance.ge(0.0)? * distance.lt(window as f64)?)?,
        (false, _) => distance.abs()?.le(window.unwrap_or(furthest) as f64)?,
    };
    Ok(Some(seen.to_dtype(DType::F32)?.affine(-OUT_OF_SIGHT, OUT_OF_SIGHT)?))
}

/// Softmax over the last dimension. The largest score is only subtracted, so no gradient flows through it.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    let largest = scores.max_keepdim(D::Minus1)?.detach();
    let powers = scores.broadcast_sub(&largest)?.exp()?;
    Ok(powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?)
}
