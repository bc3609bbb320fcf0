//! Weights as they come from files, and reading them row by row in float32, whatever their storage.
//!
//! Made by `model`, read by the packers of every backend.

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::number::{DType, Precision};
use crate::quantize::{Scheme, dequantize_row, quantize_row};

/// Where a weight's numbers come from: rows of `cols` numbers, one row an output feature.
#[derive(Debug, Clone, Copy)]
pub enum WeightPart<'a> {
    /// Little-endian numbers, row-major `[rows, cols]`, of any alignment.
    Stored {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// Number type of `bytes`.
        dtype: DType,
        /// `rows * cols` numbers.
        bytes: &'a [u8],
    },
    /// Integers and scales, as [`quantize_row`] makes them, one row after the other.
    Quantized {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// Layout of both.
        scheme: Scheme,
        /// [`Scheme::integer_bytes`] a row.
        integers: &'a [u8],
        /// [`Scheme::scale_bytes`] a row.
        scales: &'a [u8],
    },
    /// Uniform random numbers with the given standard deviation, reproducible from the seed.
    Random {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// Seed of the generator.
        seed: u64,
        /// Standard deviation.
        deviation: f32,
    },
}

impl WeightPart<'_> {
    /// `(rows, cols)`.
    pub const fn shape(&self) -> (usize, usize) {
        match *self {
            Self::Stored { rows, cols, .. } | Self::Quantized { rows, cols, .. } | Self::Random { rows, cols, .. } => {
                (rows, cols)
            }
        }
    }
}

/// Room for one quantised row.
#[derive(Debug)]
pub struct QuantizedRowMut<'a> {
    /// [`Scheme::integer_bytes`].
    pub integers: &'a mut [u8],
    /// [`Scheme::scale_bytes`].
    pub scales: &'a mut [u8],
}

/// Use of a matrix; decides its layout in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatrixUse {
    /// Products (`linear`, `logits`), and lookups where the table is tied.
    Multiply,
    /// [`crate::ProductOps::linear_geglu`] alone. The first half of the rows are those of the gate.
    Gated,
    /// The table of the output layer: `Multiply`, and [`crate::SamplingOps::choose`].
    Output,
    /// Row lookups only (`embed`).
    Lookup,
}

/// Numbers that a packed matrix multiplies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// float32, for [`Precision::F32`].
    F32,
    /// bfloat16, for [`Precision::Bf16`].
    Bf16,
    /// Integers and scales; the rows they multiply are quantised on the way ([`crate::quantize`]).
    Quantized(Scheme),
}

impl From<Precision> for WeightFormat {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

impl WeightPart<'_> {
    /// Refuses a stored part whose bytes do not fit its shape.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Stored { rows, cols, dtype, bytes } if bytes.len() != rows * cols * dtype.bytes() => {
                Err(Error::WeightSize { rows, cols, dtype, bytes: bytes.len() })
            }
            Self::Quantized { rows, cols, scheme, integers, scales }
                if integers.len() != rows * scheme.integer_bytes(cols)
                    || scales.len() != rows * scheme.scale_bytes(cols) =>
            {
                let (integer_bytes, scale_bytes) = (integers.len(), scales.len());
                Err(Error::QuantizedSize { rows, cols, integer_bytes, scale_bytes })
            }
            Self::Quantized { rows, cols, scheme: Scheme::Int8, integers, .. } if integers.contains(&0x80) => {
                Err(Error::IntegerRange { rows, cols })
            }
            _ => Ok(()),
        }
    }

    /// Factor from the 24-bit integers of [`Self::Random`] to its numbers.
    pub(crate) fn random_scale(deviation: f32) -> f32 {
        deviation * 3.0_f32.sqrt() / (1_u32 << 23) as f32
    }

    /// Bytes that the part has in a file; made-up numbers count as bfloat16, as they would be published.
    pub const fn nominal_bytes(&self) -> usize {
        match *self {
            Self::Stored { bytes, .. } => bytes.len(),
            Self::Quantized { integers, scales, .. } => integers.len() + scales.len(),
            Self::Random { rows, cols, .. } => rows * cols * DType::Bf16.bytes(),
        }
    }

    /// Whether every number is exact in bfloat16.
    pub const fn is_bf16(&self) -> bool {
        matches!(self, Self::Stored { dtype: DType::Bf16, .. })
    }

    /// Writes row `index`, `cols` numbers, to `out`.
    pub fn read_row(&self, index: usize, out: &mut [f32]) {
        match *self {
            Self::Stored { cols, dtype, bytes, .. } => {
                let width = cols * dtype.bytes();
                let row = &bytes[index * width..][..width];
                match dtype {
                    DType::F32 => read(row, out, f32::from_le_bytes),
                    DType::Bf16 => read(row, out, |b| bf16::from_le_bytes(b).to_f32()),
                    DType::F16 => read(row, out, |b| f16::from_le_bytes(b).to_f32()),
                }
            }
            Self::Quantized { cols, scheme, integers, scales, .. } => {
                let (integer_bytes, scale_bytes) = (scheme.integer_bytes(cols), scheme.scale_bytes(cols));
                let integers = &integers[index * integer_bytes..][..integer_bytes];
                dequantize_row(scheme, integers, &scales[index * scale_bytes..][..scale_bytes], out);
            }
            Self::Random { cols, seed, deviation, .. } => random_row(seed, (index * cols) as u64, deviation, out),
        }
    }

    /// Writes the integers and scales of row `index`: as they are stored, or quantised now. `values` is room for `cols`
    /// numbers.
    pub fn quantized_row(&self, index: usize, scheme: Scheme, values: &mut [f32], out: QuantizedRowMut<'_>) {
        let QuantizedRowMut { integers, scales } = out;
        match *self {
            Self::Quantized { scheme: stored, integers: all, scales: all_scales, .. } if stored == scheme => {
                let (integer_bytes, scale_bytes) = (integers.len(), scales.len());
                integers.copy_from_slice(&all[index * integer_bytes..][..integer_bytes]);
                scales.copy_from_slice(&all_scales[index * scale_bytes..][..scale_bytes]);
            }
            _ => {
                self.read_row(index, values);
                quantize_row(scheme, values, integers, scales);
            }
        }
    }
}

fn read<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (chunk, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = value(*chunk);
    }
}

/// Uniform numbers of the wanted deviation; number `i` is a hash of the seed and `first + i` (SplitMix64).
fn random_row(seed: u64, first: u64, deviation: f32, out: &mut [f32]) {
    let scale = WeightPart::random_scale(deviation);
    for (i, out) in out.iter_mut().enumerate() {
        let mut z = seed.wrapping_add((first + i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        *out = ((z >> 40) as i32 - (1 << 23)) as f32 * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_reads_as_float32() {
        let values = [1.5_f32, -2.0, 0.25, 8.0];
        let f32s: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let bf16s: Vec<u8> = values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        let f16s: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        for (dtype, bytes) in [(DType::F32, &f32s), (DType::Bf16, &bf16s), (DType::F16, &f16s)] {
            let part = WeightPart::Stored { rows: 2, cols: 2, dtype, bytes };
            part.check().unwrap();
            let mut row = [0.0; 2];
            part.read_row(1, &mut row);
            assert_eq!(row, [0.25, 8.0]);
        }
        let short = WeightPart::Stored { rows: 2, cols: 3, dtype: DType::F32, bytes: &f32s };
        assert!(matches!(short.check(), Err(Error::WeightSize { bytes: 16, .. })));
    }

    #[test]
    fn random_weights_are_reproducible_and_of_the_wanted_spread() {
        let part = WeightPart::Random { rows: 10, cols: 1000, seed: 3, deviation: 0.02 };
        let mut row = vec![0.0; 1000];
        let mut squares = 0.0;
        for index in 0..10 {
            part.read_row(index, &mut row);
            squares += row.iter().map(|v| f64::from(v * v)).sum::<f64>();
        }
        assert!(((squares / 10_000.0).sqrt() - 0.02).abs() < 0.001);
        let mut again = vec![0.0; 1000];
        part.read_row(9, &mut again);
        assert_eq!(row, again);
    }
}
