//! Number types: how weights are stored and what arithmetic is done in.
//!
//! Used by every backend and by whoever reads checkpoints.

/// Number type of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision (accepted as storage only).
    F16,
}

impl DType {
    /// Bytes of one number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}

/// Number type of keys, values and attention, and of products whose weights are not quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// float32 weights, operands and accumulation.
    F32,
    /// bfloat16 weights and pages, float32 accumulation. Operands are rounded to bfloat16 where the hardware multiplies
    /// bfloat16; elsewhere they stay float32 and bfloat16 numbers are widened exactly.
    Bf16,
}
