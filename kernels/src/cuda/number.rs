//! Number types on a device, and how the host writes them.
//!
//! Used by everything in `cuda` that keeps rows or weights on the device.

use half::bf16;

/// Rows begin at multiples of this many numbers: one step of the kernels that multiply.
pub(super) const PITCH: usize = 32;

/// Number type of rows on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// bfloat16: operands of products and attention.
    Bf16,
    /// float32: the residual stream and logits.
    F32,
}

impl Number {
    /// Bytes of one number.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Writes numbers as a device stores them. `bytes` may be longer; what is left over stays as it is.
    pub(super) fn write(self, values: &[f32], bytes: &mut [u8]) {
        match self {
            Self::Bf16 => {
                for (out, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                    *out = bf16::from_f32(*value).to_le_bytes();
                }
            }
            Self::F32 => {
                for (out, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                    *out = value.to_le_bytes();
                }
            }
        }
    }

    /// Appends all numbers of `bytes`, widened to float32.
    pub(super) fn read(self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Self::Bf16 => values.extend(bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32())),
            Self::F32 => values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        }
    }
}
