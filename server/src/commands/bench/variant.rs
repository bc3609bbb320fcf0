//! The arithmetics that a sweep compares, by the names that tables give them.
//!
//! Used by `sweep`. The only place that lists them.

use kernels::{Precision, Scheme};

use crate::config::{ModelChoice, Quantize};

/// One arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Its name in tables.
    pub name: &'static str,
    precision: Precision,
    quantize: Quantize,
}

impl Variant {
    /// All, in the order in which they are measured and shown.
    pub const ALL: [Self; 4] = [
        Self { name: "f32", precision: Precision::F32, quantize: Quantize::None },
        Self { name: "bf16", precision: Precision::Bf16, quantize: Quantize::None },
        Self { name: "int8", precision: Precision::Bf16, quantize: Quantize::To(Scheme::Int8) },
        Self { name: "int4", precision: Precision::Bf16, quantize: Quantize::To(Scheme::Int4) },
    ];

    /// Sets it.
    pub fn choose(self, choice: &mut ModelChoice) {
        choice.precision = self.precision;
        choice.quantize = self.quantize;
    }
}
