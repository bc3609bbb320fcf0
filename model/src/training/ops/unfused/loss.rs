//! The loss over a vocabulary, or over the classes of a head.
//!
//! Called through `unfused`. Keeps the logits of all rows for their gradients.

use candle_core::{DType, Tensor};

use super::linear;
use crate::training::Result;
use crate::training::ops::token_loss::{CrossEntropy, Teacher, TokenLosses};

/// Losses of `[rows, width]` states under an output table `[vocab, width]`: of each row
/// `(1 - w) * -log p(label) + w * T^2 * H(teacher at T, student at T) + z * log(sum(exp(logits)))^2`.
///
/// # Errors
/// When the tensor library refuses.
pub fn cross_entropy(states: &Tensor, table: &Tensor, how: &CrossEntropy) -> Result<TokenLosses> {
    let logits = softcapped(&linear(states, table)?, how.softcap)?;
    cross_entropy_of_logits(&logits, how)
}

/// Losses of logits to which the softcap has been applied already.
///
/// # Errors
/// When the tensor library refuses.
pub fn cross_entropy_of_logits(logits: &Tensor, how: &CrossEntropy) -> Result<TokenLosses> {
    let logits = logits.to_dtype(DType::F32)?;
    let labels = Tensor::new(how.labels.as_slice(), logits.device())?;
    let normalizers = log_sum_exp(&logits)?;
    let chosen = logits.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
    let label_losses = (&normalizers - chosen)?;
    let cross_entropy = label_losses.detach().to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
    let is_best = logits.detach().argmax(1)?.eq(&labels)?;
    let correct = is_best.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? as usize;

    let mut sum = label_losses.sum_all()?;
    if let Some(teacher) = &how.teacher {
        let taught = teacher_losses(&logits, teacher)?.sum_all()?;
        let weight = f64::from(teacher.weight);
        sum = (sum.affine(1.0 - weight, 0.0)? + taught.affine(weight, 0.0)?)?;
    }
    if how.z_loss != 0.0 {
        sum = (sum + normalizers.sqr()?.sum_all()?.affine(f64::from(how.z_loss), 0.0)?)?;
    }
    Ok(TokenLosses { sum, cross_entropy, correct })
}

/// `T^2 * -sum(softmax(teacher / T) * log softmax(student / T))` of each row.
fn teacher_losses(logits: &Tensor, teacher: &Teacher) -> Result<Tensor> {
    let temperature = f64::from(teacher.temperature);
    let taught = softcapped(&linear(&teacher.states.detach(), &teacher.table.detach())?, teacher.softcap)?;
    let log_shares = log_softmax(&taught.affine(1.0 / temperature, 0.0)?)?;
    let own = log_softmax(&logits.affine(1.0 / temperature, 0.0)?)?;
    Ok((log_shares.exp()? * own)?.sum(1)?.affine(-temperature * temperature, 0.0)?)
}

/// float32 logits.
pub fn softcapped(logits: &Tensor, softcap: Option<f32>) -> Result<Tensor> {
    let logits = logits.to_dtype(DType::F32)?;
    Ok(match softcap.map(f64::from) {
        Some(cap) => logits.affine(1.0 / cap, 0.0)?.tanh()?.affine(cap, 0.0)?,
        None => logits,
    })
}

fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.broadcast_sub(&log_sum_exp(logits)?.unsqueeze(1)?)?)
}

/// Logarithm of the sum of exponentials of each row.
fn log_sum_exp(logits: &Tensor) -> Result<Tensor> {
    let largest = logits.max_keepdim(1)?.detach();
    let sums = logits.broadcast_sub(&largest)?.exp()?.sum(1)?;
    Ok((sums.log()? + largest.squeeze(1)?)?)
}
