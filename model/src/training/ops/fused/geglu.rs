//! The gated half of a feed-forward layer as one operation. The library's graph would keep, clear and add up gradients
//! of gate and up, which are the widest activations of a model.
//!
//! Called through `fused`.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use kernels::gradient::{self, Matrix, MatrixMut, Product, Workers};

use super::{Held, numbers, product, shaped, stored};

/// `gelu(x . gate) * (x . up)` of contiguous tensors.
pub(in crate::training::ops) fn geglu(x: &Tensor, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() || x.dims2()?.1 != gate.dims2()?.1 {
        candle_core::bail!("geglu: {:?} by weights of {:?} and {:?}", x.shape(), gate.shape(), up.shape());
    }
    x.apply_op3(gate, up, Geglu { products: OnceLock::new() })
}

struct Geglu {
    /// `x . gate` and `x . up` of the forward pass.
    products: OnceLock<[Vec<f32>; 2]>,
}

impl CustomOp3 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((tokens, inner), outer) = (x_layout.shape().dims2()?, gate_layout.shape().dims2()?.0);
        let x = Matrix::new(numbers(x, x_layout)?, tokens, inner);
        let by = |weight| product(x, Matrix::new(weight, outer, inner).transposed());
        let products = [by(numbers(gate, gate_layout)?), by(numbers(up, up_layout)?)];
        let out = gradient::geglu(&products[0], &products[1]);
        // A second forward pass of the same operation has the same inputs, and so the same products.
        self.products.get_or_init(|| products);
        stored(out, (tokens, outer))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((tokens, inner), outer, incoming) = (x.dims2()?, gate.dims2()?.0, incoming.contiguous()?);
        let [x_held, gate_held, up_held, incoming_held] = [x, gate, up, &incoming].map(Held::of);
        let [gated, raised] = self.products.get().expect("a backward pass follows its forward pass");
        let (d_gated, d_raised) = gradient::geglu_backward(gated, raised, incoming_held.numbers()?);
        let [d_gated, d_raised] = [&d_gated, &d_raised].map(|values| Matrix::new(values, tokens, outer));
        let d_weight = |d_product: Matrix<'_>, weight: &Tensor| {
            if !weight.track_op() {
                return Ok(None);
            }
            let x = Matrix::new(x_held.numbers()?, tokens, inner);
            shaped(product(d_product.transposed(), x), weight).map(Some)
        };
        let (d_gate, d_up) = (d_weight(d_gated, gate)?, d_weight(d_raised, up)?);
        if !x.track_op() {
            return Ok((None, d_gate, d_up));
        }
        let mut d_x = product(d_gated, Matrix::new(gate_held.numbers()?, outer, inner));
        let right = Matrix::new(up_held.numbers()?, outer, inner);
        Product { left: d_raised, right, scale: 1.0, workers: Workers::All }
            .add(MatrixMut::new(&mut d_x, tokens, inner));
        Ok((Some(shaped(d_x, x)?), d_gate, d_up))
    }
}
