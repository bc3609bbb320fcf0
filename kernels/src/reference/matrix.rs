//! Weights of the reference, and their products.
//!
//! Packed by `storage`, multiplied by `products`.

use super::device::{Reference, Rounding};
use super::quantized::Quantized;
use crate::error::Result;
use crate::math::round_bf16;
use crate::number::Precision;
use crate::weights::{WeightFormat, WeightPart};

/// A weight `[rows, cols]`.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// `[rows, cols]` in float32, rounded to the weight's precision or quantised.
    data: Vec<f32>,
    cols: usize,
    precision: Precision,
    /// Integers and scales of a quantised weight.
    quantized: Option<Quantized>,
}

impl Matrix {
    pub(super) fn pack(parts: &[WeightPart<'_>], format: WeightFormat) -> Result<Self> {
        let cols = parts[0].shape().1;
        let mut data = Vec::new();
        for part in parts {
            part.check()?;
            for index in 0..part.shape().0 {
                let first = data.len();
                data.resize(first + cols, 0.0);
                part.read_row(index, &mut data[first..]);
            }
        }
        let (precision, quantized) = match format {
            WeightFormat::F32 => (Precision::F32, None),
            WeightFormat::Bf16 => (Precision::Bf16, None),
            WeightFormat::Quantized(scheme) => (Precision::F32, Some(Quantized::pack(parts, scheme, &mut data))),
        };
        if precision == Precision::Bf16 {
            data.iter_mut().for_each(|w| *w = round_bf16(*w));
        }
        Ok(Self { data, cols, precision, quantized })
    }

    pub(super) fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.cols..][..self.cols]
    }

    pub(super) const fn bytes(&self) -> usize {
        self.data.len() * 4
    }

    /// `x . matrix^T` of one row.
    pub(super) fn product(&self, reference: Reference, x: &[f32]) -> Vec<f32> {
        // A device that keeps rows in bfloat16 quantises its weights only.
        if let Some(quantized) = self.quantized.as_ref().filter(|_| reference.rounding != Rounding::Rows) {
            return quantized.product(x);
        }
        let dot = |weights: &[f32]| {
            x.iter().zip(weights).fold(0.0, |sum, (x, w)| sum + reference.operand(self.precision, *x) * w)
        };
        self.data.chunks(self.cols).map(dot).collect()
    }
}
