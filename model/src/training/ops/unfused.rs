//! The operations as graphs of plain tensor operations, for any device and number type.
//!
//! Devices without fused operations run these, and the fused ones are tested against them. Norms, softmax and
//! loss are float32 whatever the activations are.

mod attention;
mod loss;

use candle_core::{DType, Tensor};
use kernels::gradient::Dropout;

use crate::training::Result;

pub use attention::attention;
pub(super) use loss::softcapped;
pub use loss::{cross_entropy, cross_entropy_of_logits};

/// Rows of a table, `[tokens, width]`, times `scale`.
///
/// # Errors
/// When the tensor library refuses, as for an id outside the table.
pub fn embed(table: &Tensor, ids: &[u32], scale: f64) -> Result<Tensor> {
    let ids = Tensor::new(ids, table.device())?;
    Ok(table.index_select(&ids, 0)?.affine(scale, 0.0)?)
}

/// `x / sqrt(mean(x^2) + eps) * (1 + gain)` of each row, rounded once to the type of `x`.
///
/// # Errors
/// When the tensor library refuses.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f32) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    let root = wide.sqr()?.mean_keepdim(1)?.affine(1.0, f64::from(eps))?.sqrt()?;
    let gain = gain.to_dtype(DType::F32)?.affine(1.0, 1.0)?;
    Ok(wide.broadcast_div(&root)?.broadcast_mul(&gain)?.to_dtype(x.dtype())?)
}

/// `[tokens, in]` by `[out, in]` gives `[tokens, out]`.
///
/// # Errors
/// When the tensor library refuses.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Ok(x.matmul(&weight.t()?)?)
}

/// `gelu(x . gate) * (x . up)`: `[tokens, in]` by two weights `[out, in]` gives `[tokens, out]`. The gelu is in its
/// tanh form and rounded to the type of `x`.
///
/// # Errors
/// When the tensor library refuses.
pub fn geglu(x: &Tensor, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (gate, up) = (linear(x, gate)?, linear(x, up)?);
    // The library's own gelu differentiates with constants of six digits.
    const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
    let wide = gate.to_dtype(DType::F32)?;
    let inner = (&wide * wide.sqr()?.affine(SQRT_2_OVER_PI * 0.044_715, SQRT_2_OVER_PI)?)?;
    let gelu = (wide.affine(0.5, 0.0)? * inner.tanh()?.affine(1.0, 1.0)?)?;
    Ok((gelu.to_dtype(gate.dtype())? * up)?)
}

/// Dropout: `x` without the numbers that the key drops.
///
/// # Errors
/// When the tensor library refuses.
pub fn dropout(x: &Tensor, how: Dropout) -> Result<Tensor> {
    if how.rate <= 0.0 {
        return Ok(x.clone());
    }
    let factors = dropout_factors(x, how)?;
    Ok((x * factors)?)
}

/// Mask of 0 or `1 / (1 - rate)` for each number of `x`. A GPU draws with its own generator: numbers made here would
/// have to be copied there at every use.
fn dropout_factors(x: &Tensor, how: Dropout) -> Result<Tensor> {
    let kept = 1.0 / (1.0 - f64::from(how.rate));
    if x.device().is_cpu() {
        let factors = kernels::gradient::dropout(&vec![1.0; x.elem_count()], how);
        return Ok(Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?);
    }
    x.device().set_seed(how.key)?;
    let drawn = Tensor::rand(0.0_f32, 1.0, x.shape(), x.device())?;
    Ok(drawn.ge(f64::from(how.rate))?.to_dtype(DType::F32)?.affine(kept, 0.0)?.to_dtype(x.dtype())?)
}
