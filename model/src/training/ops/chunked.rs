//! The loss over a vocabulary in plain tensor operations, with the logits of few rows at a time.
//!
//! Called by `ops` for devices and number types without fused operations. The gradients are made with the loss.

use std::sync::Mutex;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, DType, Layout, Shape, Tensor, Var};

use super::token_loss::{CrossEntropy, Teacher, TokenLosses};
use super::unfused::{self, cross_entropy_of_logits, softcapped};
use crate::training::Result;

/// Most logits at a time: a GiB of float32, and as much again for each step of their gradients.
const CHUNK_LOGITS: usize = 1 << 28;

/// The loss of [`super::cross_entropy`]; it can be differentiated once.
pub fn cross_entropy(states: &Tensor, table: &Tensor, how: &CrossEntropy) -> Result<TokenLosses> {
    let rows = (CHUNK_LOGITS / table.dim(0)?).max(1);
    cross_entropy_by(rows, states, table, how)
}

/// The loss, at most `chunk_rows` rows at a time.
fn cross_entropy_by(chunk_rows: usize, states: &Tensor, table: &Tensor, how: &CrossEntropy) -> Result<TokenLosses> {
    let mut sums = Sums { loss: 0.0, cross_entropy: 0.0, correct: 0, d_states: Vec::new(), d_table: None };
    let wanted = Wanted { states: states.track_op(), table: table.track_op() };
    let plain_table = table.detach();
    for start in (0..how.labels.len()).step_by(chunk_rows) {
        let rows = chunk_rows.min(how.labels.len() - start);
        let chunk = states.detach().narrow(0, start, rows)?;
        sums.add(&chunk, &plain_table, &rows_of(how, start, rows)?, wanted)?;
    }
    let d_states = if wanted.states { Some(Tensor::cat(&sums.d_states, 0)?) } else { None };
    let d_table = sums.d_table.map(|sum| sum.to_dtype(table.dtype())).transpose()?;
    let loss = Loss { loss: sums.loss as f32, gradients: Mutex::new([d_states, d_table]) };
    let sum = states.contiguous()?.apply_op2(&table.contiguous()?, loss)?;
    Ok(TokenLosses { sum, cross_entropy: sums.cross_entropy, correct: sums.correct })
}

/// Labels and terms of the loss for some of the rows.
fn rows_of(how: &CrossEntropy, start: usize, rows: usize) -> Result<CrossEntropy> {
    let teacher = match &how.teacher {
        Some(teacher) => Some(Teacher { states: teacher.states.narrow(0, start, rows)?, ..teacher.clone() }),
        None => None,
    };
    let labels = how.labels[start..start + rows].to_vec();
    Ok(CrossEntropy { labels, teacher, ..*how })
}

/// Whether each gradient is wanted.
#[derive(Clone, Copy)]
struct Wanted {
    states: bool,
    table: bool,
}

/// Sums over the chunks so far.
struct Sums {
    loss: f64,
    cross_entropy: f64,
    correct: usize,
    d_states: Vec<Tensor>,
    /// Gradient of the table: float32 whatever type the table has.
    d_table: Option<Tensor>,
}

impl Sums {
    fn add(&mut self, states: &Tensor, table: &Tensor, how: &CrossEntropy, wanted: Wanted) -> Result<()> {
        let logits = Var::from_tensor(&unfused::linear(states, table)?)?;
        let losses = cross_entropy_of_logits(&softcapped(&logits, how.softcap)?, how)?;
        self.loss += f64::from(losses.sum.to_scalar::<f32>()?);
        self.cross_entropy += losses.cross_entropy;
        self.correct += losses.correct;
        if !wanted.states && !wanted.table {
            return Ok(());
        }
        let gradients = losses.sum.backward()?.remove(&logits);
        let incoming = gradients.expect("the loss follows from the logits").detach();
        if wanted.states {
            self.d_states.push(incoming.matmul(table)?);
        }
        if wanted.table {
            let own = incoming.t()?.matmul(states)?.to_dtype(DType::F32)?;
            self.d_table = Some(match self.d_table.take() {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        Ok(())
    }
}

/// A computed loss with its gradients.
struct Loss {
    loss: f32,
    /// Gradients of states and table, if wanted; taken by the backward pass.
    gradients: Mutex<[Option<Tensor>; 2]>,
}

impl CustomOp2 for Loss {
    fn name(&self) -> &'static str {
        "chunked_cross_entropy"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.loss]), ().into()))
    }

    fn cuda_fwd(
        &self,
        states: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        Ok((states.device().storage_from_slice(&[self.loss])?, ().into()))
    }

    fn bwd(
        &self,
        states: &Tensor,
        _: &Tensor,
        _: &Tensor,
        incoming: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let by = f64::from(incoming.to_scalar::<f32>()?);
        let mut gradients = self.gradients.lock().expect("no thread panics with the gradients in hand");
        let [d_states, d_table] = std::mem::take(&mut *gradients);
        if states.track_op() && d_states.is_none() {
            candle_core::bail!("cross_entropy: a second backward pass through the same loss");
        }
        let scaled = |gradient: Option<Tensor>| gradient.map(|gradient| gradient.affine(by, 0.0)).transpose();
        Ok((scaled(d_states)?, scaled(d_table)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn waves(rows: usize, cols: usize) -> Var {
        let numbers = (0..rows * cols).map(|index| 1.5 * (index as f32 * 1.7 + rows as f32).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(numbers, (rows, cols), &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn chunks_of_rows_give_the_loss_and_gradients_of_all_rows_together() {
        let (states, table) = (waves(11, 5), waves(23, 5));
        let teacher = Teacher {
            states: waves(11, 7).as_detached_tensor(),
            table: waves(23, 7).as_detached_tensor(),
            softcap: Some(20.0),
            temperature: 2.0,
            weight: 0.4,
        };
        let labels = (0..11).map(|row| row * 2).collect();
        let how = CrossEntropy { labels, softcap: Some(3.0), z_loss: 0.01, teacher: Some(teacher) };
        let whole = unfused::cross_entropy(&states, &table, &how).unwrap();
        let chunked = cross_entropy_by(4, &states, &table, &how).unwrap();
        assert_eq!(whole.correct, chunked.correct);
        assert!((whole.cross_entropy - chunked.cross_entropy).abs() < 1e-5 * whole.cross_entropy);
        let gradients = |losses: TokenLosses| {
            let store = losses.sum.affine(0.25, 0.0).unwrap().backward().unwrap();
            [&states, &table].map(|of| store.get(of).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        for (whole, chunked) in gradients(whole).iter().flatten().zip(gradients(chunked).iter().flatten()) {
            assert!((whole - chunked).abs() < 1e-5, "{chunked} for {whole}");
        }
    }

    #[test]
    fn a_loss_without_gradients_is_the_same() {
        let (states, table) = (waves(5, 3), waves(7, 3));
        let how = CrossEntropy { labels: vec![0, 1, 2, 3, 6], softcap: None, z_loss: 0.0, teacher: None };
        let whole = unfused::cross_entropy(&states, &table, &how).unwrap().sum.to_scalar::<f32>().unwrap();
        let plain = cross_entropy_by(2, &states.as_detached_tensor(), &table.as_detached_tensor(), &how).unwrap();
        assert!((plain.sum.to_scalar::<f32>().unwrap() - whole).abs() < 1e-4);
    }
}
