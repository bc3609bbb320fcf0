//! A step of AdamW on one weight in place, and the norm of a gradient.
//!
//! Called by `optimizer`. On the CPU nothing is allocated; elsewhere the same formulas are plain tensor operations.

use candle_core::{CpuStorage, DType, Error, InplaceOp2, InplaceOp3, Layout, Tensor, Var};
use kernels::gradient::{self, AdamWStep};

use super::fused::{self, Held, numbers};
use crate::training::Result;

/// Moments of a weight.
#[derive(Debug, Clone, Copy)]
pub struct Moments<'a> {
    /// Decaying mean of the gradients.
    pub first: &'a Var,
    /// Decaying mean of their squares.
    pub second: &'a Var,
}

/// Updates the moments from a gradient and the weight from the moments, as `torch.optim.AdamW`. All are
/// float32 and share one shape.
///
/// # Errors
/// When the tensor library refuses an operation.
pub fn adamw_step(weight: &Var, moments: Moments<'_>, gradient: &Tensor, step: &AdamWStep) -> Result<()> {
    let Moments { first, second } = moments;
    if !fused::supports(&[weight, first, second, gradient]) {
        return unfused(weight, moments, gradient, step);
    }
    let gradient = gradient.contiguous()?;
    first.inplace_op2(&gradient, &First(step))?;
    second.inplace_op2(&gradient, &Second(step))?;
    weight.inplace_op3(first, second, &Weights(step))?;
    Ok(())
}

pub(super) fn unfused(weight: &Var, moments: Moments<'_>, gradient: &Tensor, step: &AdamWStep) -> Result<()> {
    let Moments { first, second } = moments;
    let gradient = (gradient.to_dtype(DType::F32)? * step.gradient_scale)?;
    first.set(&((first.as_tensor() * step.beta1)? + (&gradient * (1.0 - step.beta1))?)?)?;
    second.set(&((second.as_tensor() * step.beta2)? + (gradient.sqr()? * (1.0 - step.beta2))?)?)?;
    let root = ((second.sqrt()? / step.root_of_bias())? + step.epsilon)?;
    let update = (first.as_tensor().div(&root)? * step.rate())?;
    weight.set(&((weight.as_tensor() * step.kept())? - update)?)?;
    Ok(())
}

/// `sum(x^2)`, in an order that depends on the shape alone.
///
/// # Errors
/// When the tensor library refuses an operation.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    if fused::supports(&[x]) {
        let x = x.contiguous()?;
        return Ok(gradient::sum_of_squares(Held::of(&x).numbers()?));
    }
    Ok(f64::from(x.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>()?))
}

/// The numbers of a contiguous tensor inside its storage, mutable.
fn numbers_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> candle_core::Result<&'a mut [f32]> {
    let (Some((start, end)), CpuStorage::F32(values)) = (layout.contiguous_offsets(), storage) else {
        return Err(Error::RequiresContiguous { op: "a step in place" }.bt());
    };
    Ok(&mut values[start..end])
}

struct First<'a>(&'a AdamWStep);

impl InplaceOp2 for First<'_> {
    fn name(&self) -> &'static str {
        "adamw_first"
    }

    fn cpu_fwd(
        &self,
        moments: &mut CpuStorage,
        moments_layout: &Layout,
        gradient: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<()> {
        gradient::adamw_first(numbers_mut(moments, moments_layout)?, numbers(gradient, layout)?, self.0);
        Ok(())
    }
}

struct Second<'a>(&'a AdamWStep);

impl InplaceOp2 for Second<'_> {
    fn name(&self) -> &'static str {
        "adamw_second"
    }

    fn cpu_fwd(
        &self,
        moments: &mut CpuStorage,
        moments_layout: &Layout,
        gradient: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<()> {
        gradient::adamw_second(numbers_mut(moments, moments_layout)?, numbers(gradient, layout)?, self.0);
        Ok(())
    }
}

struct Weights<'a>(&'a AdamWStep);

impl InplaceOp3 for Weights<'_> {
    fn name(&self) -> &'static str {
        "adamw_weights"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        first: &CpuStorage,
        first_layout: &Layout,
        second: &CpuStorage,
        second_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (first, second) = (numbers(first, first_layout)?, numbers(second, second_layout)?);
        gradient::adamw_weights(numbers_mut(weights, weights_layout)?, first, second, self.0);
        Ok(())
    }
}
