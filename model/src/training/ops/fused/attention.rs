//! Attention as a custom operation that keeps one number per query and head for its backward pass.
//!
//! Called through `fused`.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use kernels::gradient::{AttendedRef, Attention, AttentionInputs, attend, attend_backward};

use super::{Held, numbers, shaped, stored};

/// Attention of contiguous tensors.
pub(in crate::training::ops) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attention) -> Result<Tensor> {
    let (queries, keys) = (how.queries.iter().sum(), how.key_count());
    for (tensor, shape) in
        [(q, (queries, how.query_width())), (k, (keys, how.key_width())), (v, (keys, how.key_width()))]
    {
        if tensor.dims2()? != shape {
            candle_core::bail!("attention: {:?} where the rows make {shape:?}", tensor.shape());
        }
    }
    let sources_fit = [0, how.keys.len()].contains(&how.source_keys.len());
    if how.queries.len() != how.keys.len()
        || !sources_fit
        || how.kv_heads == 0
        || !how.heads.is_multiple_of(how.kv_heads)
    {
        candle_core::bail!("attention: rows or heads of queries and keys do not match");
    }
    q.apply_op3(k, v, Attend { how: how.clone(), log_sums: OnceLock::new() })
}

struct Attend {
    how: Attention,
    /// Logarithms of the softmax sums of the forward pass.
    log_sums: OnceLock<Vec<f32>>,
}

impl CustomOp3 for Attend {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (numbers(q, q_layout)?, numbers(k, k_layout)?, numbers(v, v_layout)?);
        let attended = attend(&self.how, AttentionInputs { q, k, v });
        // A second forward pass of the same operation has the same inputs, and so the same sums.
        self.log_sums.get_or_init(|| attended.log_sums);
        stored(attended.out, q_layout.shape())
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let incoming = incoming.contiguous()?;
        let [q_held, k_held, v_held, out_held, incoming_held] = [q, k, v, out, &incoming].map(Held::of);
        let inputs = AttentionInputs { q: q_held.numbers()?, k: k_held.numbers()?, v: v_held.numbers()? };
        let log_sums = self.log_sums.get().expect("a backward pass follows its forward pass");
        let attended = AttendedRef { out: out_held.numbers()?, log_sums };
        let [d_q, d_k, d_v] = attend_backward(&self.how, inputs, attended, incoming_held.numbers()?);
        Ok((Some(shaped(d_q, q)?), Some(shaped(d_k, k)?), Some(shaped(d_v, v)?)))
    }
}
