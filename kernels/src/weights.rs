//! Reading a weight row by row in float32, whatever its storage.
//!
//! Called by the packers of every backend.

use half::{bf16, f16};

use crate::backend::{DType, Error, Result, WeightPart};

impl WeightPart<'_> {
    /// Refuses a stored part whose bytes do not fit its shape.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Stored { rows, cols, dtype, bytes } if bytes.len() != rows * cols * dtype.bytes() => {
                Err(Error::WeightSize { rows, cols, dtype, bytes: bytes.len() })
            }
            _ => Ok(()),
        }
    }

    /// Bytes that the part has in a file; made-up numbers count as bfloat16, as they would be published.
    pub const fn nominal_bytes(&self) -> usize {
        match *self {
            Self::Stored { bytes, .. } => bytes.len(),
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
            Self::Random { cols, seed, deviation, .. } => random_row(seed, (index * cols) as u64, deviation, out),
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
    let scale = deviation * 3.0_f32.sqrt() / (1_u32 << 23) as f32;
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
