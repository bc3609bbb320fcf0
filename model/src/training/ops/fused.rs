//! The operations as custom operations of the tensor library, over `kernels::gradient`: float32 on the CPU.
//!
//! Called through `ops` with contiguous tensors. Each has its own backward pass, which recomputes whatever is cheap and
//! gives no gradient to a tensor that is not differentiated.

mod attention;
mod geglu;
mod loss;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, Error, Layout, Result, Shape, Storage, StorageRef, Tensor,
};
use kernels::gradient::{self, Dropout, Lookup, Matrix, Product, Workers};

use super::table_gradient::TableGradient;

pub(super) use attention::attention;
pub(super) use geglu::geglu;
pub(super) use loss::cross_entropy;

/// Whether the fused operations support all of these tensors.
pub(super) fn supports(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

/// The numbers of a contiguous tensor inside its storage.
pub(super) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::RequiresContiguous { op: "a fused operation" }.bt());
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// A tensor's storage, held for reading.
pub(super) struct Held<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Held<'a> {
    pub(super) fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub(super) fn numbers(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => numbers(storage, self.layout),
            Storage::Cuda(_) | Storage::Metal(_) => candle_core::bail!("a fused operation is of the CPU"),
        }
    }
}

/// Numbers in the shape of another tensor.
fn shaped(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), &Device::Cpu)
}

/// Numbers as storage of a shape.
fn stored(values: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(values), shape.into()))
}

/// `table[id] * scale`.
pub(super) struct Embed {
    pub ids: Vec<u32>,
    pub scale: f32,
    /// Takes the table's gradient.
    pub sum: Option<TableGradient>,
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        if let Some(&id) = self.ids.iter().find(|&&id| id as usize >= rows) {
            return Err(Error::InvalidIndex { op: "embed", index: id as usize, size: rows }.bt());
        }
        let lookup = Lookup { ids: &self.ids, width, scale: self.scale };
        stored(lookup.forward(numbers(table, layout)?), (self.ids.len(), width))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let ((rows, width), incoming) = (table.dims2()?, incoming.contiguous()?);
        let lookup = Lookup { ids: &self.ids, width, scale: self.scale };
        let held = Held::of(&incoming);
        let d_out = held.numbers()?;
        if let Some(sum) = &self.sum {
            sum.add_rows(rows * width, |d_table| lookup.add_backward(d_out, d_table));
            return Ok(None);
        }
        Ok(Some(shaped(lookup.backward(d_out, rows), table)?))
    }
}

/// `x / rms(x) * (1 + gain)`.
pub(super) struct RmsNorm {
    pub eps: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain) = (numbers(x, x_layout)?, numbers(gain, gain_layout)?);
        if x_layout.shape().dims2()?.1 != gain.len() {
            candle_core::bail!("rms_norm: rows of {:?} and a gain of {}", x_layout.shape(), gain.len());
        }
        stored(gradient::rms_norm(x, gain, self.eps), x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        _: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let incoming = incoming.contiguous()?;
        let (x_held, gain_held, incoming_held) = (Held::of(x), Held::of(gain), Held::of(&incoming));
        let (d_x, d_gain) =
            gradient::rms_norm_backward(x_held.numbers()?, gain_held.numbers()?, self.eps, incoming_held.numbers()?);
        let d_gain = gain.track_op().then(|| shaped(d_gain, gain)).transpose()?;
        Ok((x.track_op().then(|| shaped(d_x, x)).transpose()?, d_gain))
    }
}

/// `x . weight`, the weight being `[out, in]`.
pub(super) struct Linear;

fn product(left: Matrix<'_>, right: Matrix<'_>) -> Vec<f32> {
    Product { left, right, scale: 1.0, workers: Workers::All }.collect()
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((tokens, inner), (outer, weight_inner)) = (x_layout.shape().dims2()?, weight_layout.shape().dims2()?);
        if inner != weight_inner {
            candle_core::bail!("linear: {:?} by a weight of {:?}", x_layout.shape(), weight_layout.shape());
        }
        let x = Matrix::new(numbers(x, x_layout)?, tokens, inner);
        let weight = Matrix::new(numbers(weight, weight_layout)?, outer, inner);
        stored(product(x, weight.transposed()), (tokens, outer))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((tokens, inner), outer, incoming) = (x.dims2()?, weight.dims2()?.0, incoming.contiguous()?);
        let (x_held, weight_held, incoming_held) = (Held::of(x), Held::of(weight), Held::of(&incoming));
        let d_out = Matrix::new(incoming_held.numbers()?, tokens, outer);
        let d_x = if x.track_op() {
            Some(shaped(product(d_out, Matrix::new(weight_held.numbers()?, outer, inner)), x)?)
        } else {
            None
        };
        let d_weight = if weight.track_op() {
            Some(shaped(product(d_out.transposed(), Matrix::new(x_held.numbers()?, tokens, inner)), weight)?)
        } else {
            None
        };
        Ok((d_x, d_weight))
    }
}

/// Dropout of the numbers that a key selects.
pub(super) struct Drop {
    pub how: Dropout,
}

impl CustomOp1 for Drop {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        stored(gradient::dropout(numbers(x, layout)?, self.how), layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let incoming = incoming.contiguous()?;
        Ok(Some(shaped(gradient::dropout(Held::of(&incoming).numbers()?, self.how), x)?))
    }
}
