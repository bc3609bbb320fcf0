//! Cross-entropy over a vocabulary, whose gradients are made chunk by chunk together with the loss.
//!
//! Called through `fused`.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use kernels::gradient::{self, CrossEntropyOutput, Head};

use super::{Held, shaped, stored};
use crate::training::ops::table_gradient::TableGradient;
use crate::training::ops::token_loss::{CrossEntropy, Teacher, TokenLosses};

/// The loss of contiguous tensors.
pub(in crate::training::ops) fn cross_entropy(
    states: &Tensor,
    table: &Tensor,
    how: &CrossEntropy,
    table_sum: Option<&TableGradient>,
) -> Result<TokenLosses> {
    check(states, table, how)?;
    let (for_states, for_table) = (states.track_op(), table.track_op());
    let held = [states, table].map(Held::of);
    let contiguous =
        |teacher: &Teacher| -> Result<[Tensor; 2]> { Ok([teacher.states.contiguous()?, teacher.table.contiguous()?]) };
    let teacher_tensors = how.teacher.as_ref().map(contiguous).transpose()?;
    let teacher_held = teacher_tensors.as_ref().map(|tensors| tensors.each_ref().map(Held::of));
    let teacher = match (&how.teacher, &teacher_held) {
        (Some(teacher), Some(held)) => Some(gradient::Teacher {
            head: head(held, teacher.states.dims2()?.1, teacher.softcap)?,
            temperature: teacher.temperature,
            weight: teacher.weight,
        }),
        _ => None,
    };
    let output = gradient::cross_entropy(&gradient::CrossEntropy {
        head: head(&held, states.dims2()?.1, how.softcap)?,
        labels: &how.labels,
        z_loss: how.z_loss,
        teacher,
        for_states,
        for_table,
    });
    let CrossEntropyOutput { loss, cross_entropy, correct, d_states, d_table } = output;
    let gradients = Mutex::new([for_states.then_some(d_states), for_table.then_some(d_table)]);
    let sum = states.apply_op2(table, Loss { loss: loss as f32, gradients, table_sum: table_sum.cloned() })?;
    Ok(TokenLosses { sum, cross_entropy, correct })
}

fn head<'a>([states, table]: &'a [Held<'_>; 2], width: usize, softcap: Option<f32>) -> Result<Head<'a>> {
    Ok(Head { states: states.numbers()?, table: table.numbers()?, width, softcap })
}

fn check(states: &Tensor, table: &Tensor, how: &CrossEntropy) -> Result<()> {
    let ((rows, width), (vocab, table_width)) = (states.dims2()?, table.dims2()?);
    if how.labels.len() != rows || width != table_width {
        let (states, table) = (states.shape(), table.shape());
        candle_core::bail!("cross_entropy: {} labels for states {states:?} by {table:?}", how.labels.len());
    }
    if let Some(label) = how.labels.iter().find(|&&label| label as usize >= vocab) {
        candle_core::bail!("cross_entropy: label {label} in a vocabulary of {vocab}");
    }
    let Some(teacher) = &how.teacher else {
        return Ok(());
    };
    let ((taught_rows, width), (taught_vocab, table_width)) = (teacher.states.dims2()?, teacher.table.dims2()?);
    if taught_rows != rows || taught_vocab != vocab || width != table_width {
        let (states, table) = (teacher.states.shape(), teacher.table.shape());
        candle_core::bail!("cross_entropy: a teacher's states {states:?} by {table:?} for {rows} rows of {vocab}");
    }
    Ok(())
}

/// A computed loss with its gradients.
struct Loss {
    loss: f32,
    /// Gradients of states and table, if wanted; taken by the backward pass, as they may be as large as the model.
    gradients: Mutex<[Option<Vec<f32>>; 2]>,
    /// Takes the table's gradient.
    table_sum: Option<TableGradient>,
}

impl CustomOp2 for Loss {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        stored(vec![self.loss], ())
    }

    fn bwd(
        &self,
        states: &Tensor,
        table: &Tensor,
        _: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let by = incoming.to_scalar::<f32>()?;
        let mut gradients = self.gradients.lock().expect("no thread panics with the gradients in hand");
        let mut take = |index: usize, of: &Tensor| {
            if !of.track_op() {
                return Ok(None);
            }
            let Some(mut values) = gradients[index].take() else {
                candle_core::bail!("cross_entropy: a second backward pass through the same loss");
            };
            if by != 1.0 {
                gradient::scale(&mut values, by);
            }
            Ok(Some(values))
        };
        let (d_states, d_table) = (take(0, states)?, take(1, table)?);
        let d_states = d_states.map(|values| shaped(values, states)).transpose()?;
        match (&self.table_sum, d_table) {
            (Some(sum), Some(values)) => {
                sum.add(values);
                Ok((d_states, None))
            }
            (_, d_table) => Ok((d_states, d_table.map(|values| shaped(values, table)).transpose()?)),
        }
    }
}
