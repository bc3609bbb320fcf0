//! The numbers of one tensor, read from its file and checked to be finite.
//!
//! Made by a checkpoint or by random weights; read when a tensor is packed, copied or quantised.

use std::sync::atomic::{AtomicBool, Ordering};

use kernels::{DType, Scheme, WeightPart};
use safetensors::Dtype;

use super::bytes::Bytes;

/// A tensor in memory, `[rows, cols]`; a norm has one row.
#[derive(Debug)]
pub struct TensorData {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) numbers: Numbers,
}

/// A tensor's numbers as they are stored, or how they are drawn.
#[derive(Debug)]
pub(crate) enum Numbers {
    Stored { dtype: DType, bytes: Bytes },
    Quantized { scheme: Scheme, integers: Bytes, scales: Bytes },
    Random { seed: u64, deviation: f32 },
}

impl TensorData {
    /// The numbers in the form that a backend packs.
    pub fn part(&self) -> WeightPart<'_> {
        let &Self { rows, cols, ref numbers } = self;
        match *numbers {
            Numbers::Stored { dtype, ref bytes } => WeightPart::Stored { rows, cols, dtype, bytes },
            Numbers::Quantized { scheme, ref integers, ref scales } => {
                WeightPart::Quantized { rows, cols, scheme, integers, scales }
            }
            Numbers::Random { seed, deviation } => WeightPart::Random { rows, cols, seed, deviation },
        }
    }

    /// All numbers in float32, row after row.
    pub(crate) fn numbers(&self) -> Vec<f32> {
        let part = self.part();
        let mut numbers = vec![0.0; self.rows * self.cols];
        numbers.chunks_exact_mut(self.cols).enumerate().for_each(|(row, numbers)| part.read_row(row, numbers));
        numbers
    }
}

/// Checks that all floats it is shown are finite; several threads may show it blocks.
pub(super) struct Finite {
    dtype: Dtype,
    is_broken: AtomicBool,
}

impl Finite {
    pub fn new(dtype: Dtype) -> Self {
        Self { dtype, is_broken: AtomicBool::new(false) }
    }

    /// Checks a block, which holds whole numbers. Integers are always finite.
    pub fn look(&self, bytes: &[u8]) {
        let is_broken = match self.dtype {
            Dtype::F32 => has_full_exponent(bytes, |word| u32::from_le_bytes(word) & 0x7F80_0000 == 0x7F80_0000),
            Dtype::BF16 => has_full_exponent(bytes, |word| u16::from_le_bytes(word) & 0x7F80 == 0x7F80),
            Dtype::F16 => has_full_exponent(bytes, |word| u16::from_le_bytes(word) & 0x7C00 == 0x7C00),
            _ => false,
        };
        if is_broken {
            self.is_broken.store(true, Ordering::Relaxed);
        }
    }

    /// Whether every number was finite.
    pub fn holds(self) -> bool {
        !self.is_broken.into_inner()
    }
}

/// Whether any number has all bits of its exponent set. There is no early end, so that the compiler compares many
/// numbers at once.
fn has_full_exponent<const N: usize>(bytes: &[u8], is_full: impl Fn([u8; N]) -> bool) -> bool {
    bytes.as_chunks::<N>().0.iter().fold(false, |found, &word| found | is_full(word))
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn holds(dtype: Dtype, bytes: &[u8]) -> bool {
        let finite = Finite::new(dtype);
        finite.look(&[0; 64]);
        finite.look(bytes);
        finite.holds()
    }

    #[test]
    fn the_largest_numbers_are_finite_and_what_follows_them_is_not() {
        for (number, is_finite) in [(f32::MAX, true), (-0.0, true), (1e-42, true), (f32::NAN, false)] {
            assert_eq!(holds(Dtype::F32, &number.to_le_bytes()), is_finite, "{number}");
        }
        assert!(!holds(Dtype::F32, &f32::NEG_INFINITY.to_le_bytes()));
        for (number, is_finite) in [(bf16::MAX, true), (bf16::MIN, true), (bf16::INFINITY, false), (bf16::NAN, false)] {
            assert_eq!(holds(Dtype::BF16, &number.to_le_bytes()), is_finite, "{number}");
        }
        for (number, is_finite) in [(f16::MAX, true), (f16::MIN, true), (f16::INFINITY, false), (f16::NAN, false)] {
            assert_eq!(holds(Dtype::F16, &number.to_le_bytes()), is_finite, "{number}");
        }
        assert!(holds(Dtype::I8, &[0xFF; 8]), "integers have no infinity");
    }
}
