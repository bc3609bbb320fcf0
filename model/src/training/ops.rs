//! The operations of the trained network: functions of tensors with their gradients.
//!
//! Called by `network`. Activations are ragged, never padded: the tokens of all rows one after another, with the
//! rows' lengths beside them. Knows no layer and no parameter's name.

mod chunked;
mod fused;
mod step;
mod table_gradient;
mod token_loss;
pub mod unfused;

use candle_core::Tensor;

use super::Result;

pub use kernels::gradient::{AdamWStep, Attention, Dropout};
pub use step::{Moments, adamw_step, sum_of_squares};
pub use table_gradient::TableGradient;
pub use token_loss::{CrossEntropy, Teacher, TokenLosses};
pub use unfused::cross_entropy_of_logits;

/// Rows of a table, `[tokens, width]`, times `scale`. The table's gradient goes to `sum`, where there is one and the
/// operation is fused, and to the graph otherwise.
///
/// # Errors
/// When the tensor library refuses, as for an id outside the table.
pub fn embed(table: &Tensor, ids: &[u32], scale: f64, sum: Option<&TableGradient>) -> Result<Tensor> {
    if !fused::supports(&[table]) {
        return unfused::embed(table, ids, scale);
    }
    Ok(table.contiguous()?.apply_op1(fused::Embed { ids: ids.to_vec(), scale: scale as f32, sum: sum.cloned() })?)
}

/// `x` of `[tokens, width]` with `row` of `[width]` in the places of some tokens.
///
/// # Errors
/// When the tensor library refuses.
pub fn with_row(x: &Tensor, row: &Tensor, is_replaced: impl Iterator<Item = bool>) -> Result<Tensor> {
    let last = x.dim(0)? as u32;
    let chosen: Vec<u32> =
        (0..last).zip(is_replaced).map(|(token, replaced)| if replaced { last } else { token }).collect();
    let all = Tensor::cat(&[x, &row.unsqueeze(0)?], 0)?;
    Ok(all.index_select(&Tensor::new(chosen, x.device())?, 0)?)
}

/// [`rms_norm`] of each head of `[tokens, heads * head_dim]`, whose gain is `[head_dim]`.
///
/// # Errors
/// When the tensor library refuses.
pub fn head_norm(x: &Tensor, gain: &Tensor, eps: f32) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    let head_dim = gain.dim(0)?;
    Ok(rms_norm(&x.reshape((tokens * (width / head_dim), head_dim))?, gain, eps)?.reshape((tokens, width))?)
}

/// `x / sqrt(mean(x^2) + eps) * (1 + gain)` of each row, rounded once to the type of `x`.
///
/// # Errors
/// When the tensor library refuses.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f32) -> Result<Tensor> {
    if !fused::supports(&[x, gain]) {
        return unfused::rms_norm(x, gain, eps);
    }
    Ok(x.contiguous()?.apply_op2(&gain.contiguous()?, fused::RmsNorm { eps })?)
}

/// `[tokens, in]` by `[out, in]` gives `[tokens, out]`.
///
/// # Errors
/// When the tensor library refuses.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if !fused::supports(&[x, weight]) {
        return unfused::linear(x, weight);
    }
    Ok(x.contiguous()?.apply_op2(&weight.contiguous()?, fused::Linear)?)
}

/// `gelu(x . gate) * (x . up)`: `[tokens, in]` by two weights `[out, in]` gives `[tokens, out]`. The gelu is in its
/// tanh form and rounded to the type of `x`.
///
/// # Errors
/// When the tensor library refuses.
pub fn geglu(x: &Tensor, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if !fused::supports(&[x, gate, up]) {
        return unfused::geglu(x, gate, up);
    }
    Ok(fused::geglu(&x.contiguous()?, &gate.contiguous()?, &up.contiguous()?)?)
}

/// Dropout: `x` without the numbers that the key drops.
///
/// # Errors
/// When the tensor library refuses.
pub fn dropout(x: &Tensor, how: Dropout) -> Result<Tensor> {
    if how.rate <= 0.0 {
        return Ok(x.clone());
    }
    if !fused::supports(&[x]) {
        return unfused::dropout(x, how);
    }
    Ok(x.contiguous()?.apply_op1(fused::Drop { how })?)
}

/// `softmax(mask(softcap(q k^T * scale))) v` of each row. `q` is `[query tokens, heads * head_dim]`, `k` and `v` are
/// `[key tokens, then source tokens, kv_heads * head_dim]`; the result is as `q`.
///
/// # Errors
/// When the tensor library refuses.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attention) -> Result<Tensor> {
    if !fused::supports(&[q, k, v]) {
        return unfused::attention(q, k, v, how);
    }
    Ok(fused::attention(&q.contiguous()?, &k.contiguous()?, &v.contiguous()?, how)?)
}

/// Losses of `[rows, width]` states under an output table `[vocab, width]`: of each row
/// `(1 - w) * -log p(label) + w * T^2 * H(teacher at T, student at T) + z * log(sum(exp(logits)))^2`.
/// The logits of few rows exist at a time; the result is differentiated once. The table's gradient goes where that of
/// [`embed`] goes.
///
/// # Errors
/// When the tensor library refuses.
pub fn cross_entropy(
    states: &Tensor,
    table: &Tensor,
    how: &CrossEntropy,
    sum: Option<&TableGradient>,
) -> Result<TokenLosses> {
    let taught = how.teacher.as_ref().is_none_or(|teacher| fused::supports(&[&teacher.states, &teacher.table]));
    if !taught || !fused::supports(&[states, table]) {
        return chunked::cross_entropy(states, table, how);
    }
    Ok(fused::cross_entropy(&states.contiguous()?, &table.contiguous()?, how, sum)?)
}

#[cfg(test)]
mod tests;
