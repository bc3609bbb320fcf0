//! Products with quantised weights in their textbook form: integers are multiplied and added, scales come last.
//!
//! Called by the reference backend only. Unlike sums of floats these have one right answer, which every backend gives.

use crate::isa::Isa;
use crate::math::bf16_value;
use crate::quantize::{GROUP, Scheme, dequantize_row, nibble, quantize_to_127};
use crate::weights::{QuantizedRowMut, WeightPart};

/// A weight as integers and scales.
#[derive(Debug, Clone)]
pub(super) struct Quantized {
    cols: usize,
    /// Inputs that share a scale.
    group: usize,
    /// `[rows, cols]`.
    integers: Vec<i8>,
    /// `[rows, groups]`.
    scales: Vec<f32>,
}

impl Quantized {
    /// Quantises parts that are not quantised already, and replaces `values` by what the integers stand for.
    pub fn pack(parts: &[WeightPart<'_>], scheme: Scheme, values: &mut [f32]) -> Self {
        let cols = parts[0].shape().1;
        let group = if scheme == Scheme::Int8 { cols } else { GROUP };
        let mut packed = Self { cols, group, integers: Vec::new(), scales: Vec::new() };
        let mut values = values.chunks_mut(cols);
        let (mut integers, mut scales) = (vec![0; scheme.integer_bytes(cols)], vec![0; scheme.scale_bytes(cols)]);
        for part in parts {
            for index in 0..part.shape().0 {
                let row = values.next().expect("there are values for every row");
                let out = QuantizedRowMut { integers: &mut integers, scales: &mut scales };
                part.quantized_row(index, scheme, row, out);
                dequantize_row(scheme, &integers, &scales, row);
                packed.add(scheme, &integers, &scales);
            }
        }
        packed
    }

    fn add(&mut self, scheme: Scheme, integers: &[u8], scales: &[u8]) {
        match scheme {
            Scheme::Int8 => {
                self.integers.extend(integers.iter().map(|q| q.cast_signed()));
                self.scales.extend(scales.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            Scheme::Int4 => {
                self.integers.extend((0..self.cols).map(|k| nibble(integers, k)));
                let scale = |bytes: &[u8; 2]| bf16_value(u16::from_le_bytes(*bytes));
                self.scales.extend(scales.as_chunks::<2>().0.iter().map(scale));
            }
        }
    }

    /// `sum over groups (scale * sum(q_x * q_w)) * scale_x`; the sum over groups in fused steps, in their order.
    pub fn product(&self, x: &[f32]) -> Vec<f32> {
        let mut quantized = vec![0; self.cols];
        let scale = quantize_to_127(Isa::detect(), x, &mut quantized).scale;
        let rows = self.integers.chunks(self.cols).zip(self.scales.chunks(self.cols.div_ceil(self.group)));
        let dot = |x: &[u8], w: &[i8]| -> i32 {
            x.iter().zip(w).map(|(x, w)| i32::from(x.cast_signed()) * i32::from(*w)).sum()
        };
        rows.map(|(row, scales)| {
            let groups = quantized.chunks(self.group).zip(row.chunks(self.group)).zip(scales);
            let sum = groups.fold(0.0_f32, |sum, ((x, w), scale)| (dot(x, w) as f32).mul_add(*scale, sum));
            sum * scale
        })
        .collect()
    }
}
