//! The reference as a device, and what it rounds to stand for other devices.
//!
//! Made by tests.

use crate::backend::Stream;
use crate::math::round_bf16;
use crate::number::Precision;

/// The reference backend.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// Numbers that [`Precision::Bf16`] rounds.
    pub rounding: Rounding,
}

/// Numbers that are rounded to bfloat16, beside weights and pages of that format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// None: the rest is widened exactly, or already float32.
    Storage,
    /// Operands of products, as hardware that multiplies bfloat16 takes them.
    Operands,
    /// Operands, and all rows but the wide ones, which are kept in bfloat16.
    Rows,
}

impl Reference {
    /// An operand as products see it.
    pub(super) fn operand(self, precision: Precision, x: f32) -> f32 {
        if self.rounding != Rounding::Storage && precision == Precision::Bf16 { round_bf16(x) } else { x }
    }
}

impl Stream for Reference {
    fn describe(&self) -> String {
        "reference".into()
    }
}
