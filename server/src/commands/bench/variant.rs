//! The arithmetics that a sweep compares, by the names that tables give them.
//!
//! Used by `sweep`. The only place that lists them.

use kernels::{Precision, Scheme};

use crate::config::{ModelChoice, Quantize};

/// An arithmetic of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Its name in tables.
    pub name: &'static str,
    precision: Precision,
    quantize: Quantize,
}

impl Variant {
    /// All variants in the order in which they are measured and shown. f32 is last: it may be too large for the memory.
    pub const ALL: [Self; 4] = [
        Self { name: "bf16", precision: Precision::Bf16, quantize: Quantize::None },
        Self { name: "int8", precision: Precision::Bf16, quantize: Quantize::To(Scheme::Int8) },
        Self { name: "int4", precision: Precision::Bf16, quantize: Quantize::To(Scheme::Int4) },
        Self { name: "f32", precision: Precision::F32, quantize: Quantize::None },
    ];

    /// Makes a model compute so.
    pub fn choose(self, choice: &mut ModelChoice) {
        choice.precision = self.precision;
        choice.quantize = self.quantize;
    }
}

#[cfg(test)]
mod tests {
    use kernels::KvFormat;

    use super::*;
    use crate::config::{Config, Layer};

    fn choice(text: &str) -> ModelChoice {
        Config::from_layers(vec![Layer::parse("test", &format!("[model]\n{text}")).unwrap()]).unwrap().model
    }

    #[test]
    fn a_variant_is_what_its_flags_would_give() {
        let flags = [("bf16", "none"), ("bf16", "int8"), ("bf16", "int4"), ("f32", "none")];
        assert_eq!(Variant::ALL.map(|variant| variant.name), ["bf16", "int8", "int4", "f32"]);
        for cross_kv in ["auto", "same", "int8"].map(|kept| format!("cross_kv = \"{kept}\"\n")) {
            for (variant, (dtype, quantize)) in Variant::ALL.into_iter().zip(flags) {
                let mut chosen = choice(&cross_kv);
                variant.choose(&mut chosen);
                let asked = choice(&format!("{cross_kv}dtype = \"{dtype}\"\nquantize = \"{quantize}\""));
                assert_eq!(chosen, asked, "{}, {cross_kv}", variant.name);
            }
        }
    }

    #[test]
    fn float32_is_measured_with_sources_in_float32_and_the_others_with_sources_in_int8() {
        let kept = Variant::ALL.map(|variant| {
            let mut choice = choice("");
            variant.choose(&mut choice);
            choice.cross_kv.beside(choice.precision)
        });
        assert_eq!(kept, [KvFormat::Int8, KvFormat::Int8, KvFormat::Int8, KvFormat::F32]);
    }
}
