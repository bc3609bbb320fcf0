//! How a model computes: its precision, and which of its matrices are quantised.
//!
//! Chosen when a model is loaded; asked by `weights`, `checkpoint` and `cost`. Only the table here says which matrix
//! gets which format.

use std::fmt;

use kernels::{KvFormat, Precision, Scheme, WeightFormat};

/// How a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// Precision of attention, lookups, the target's keys and values, and every matrix that is not quantised.
    pub precision: Precision,
    /// Scheme that the matrices of the layers are quantised to, where that pays.
    pub quantize: Option<Scheme>,
    /// Format of cross-attention's keys and values.
    pub cross_kv: KvFormat,
}

/// The role of a tensor in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Embedding or output table.
    Table,
    /// Query, key, value and output matrix of self-attention.
    SelfAttention,
    /// Query, key, value and output matrix of cross-attention.
    CrossAttention,
    /// Gate, up and down matrix of the MLP.
    FeedForward,
    /// Weight of a norm.
    Norm,
}

impl From<Precision> for Arithmetic {
    fn from(precision: Precision) -> Self {
        Self { precision, quantize: None, cross_kv: precision.into() }
    }
}

impl Arithmetic {
    /// Format of self-attention's keys and values.
    pub(crate) fn self_kv(self) -> KvFormat {
        self.precision.into()
    }

    /// Format of the matrices of this role.
    pub(crate) fn format(self, role: Role) -> WeightFormat {
        let scheme = self.quantize.and_then(|quantize| role.scheme(quantize));
        scheme.map_or_else(|| self.precision.into(), WeightFormat::Quantized)
    }
}

impl Role {
    /// The scheme that tensors of this role get in a model that is quantised to `quantize`; `None` leaves them as they
    /// are.
    ///
    /// The mean divergence from float32, measured on the demo's synopses in nats a token: int8 8.5e-4, everything int4
    /// 2.9e-2, int4 with self-attention left at int8 1.95e-2. In int4 the decoder's queries, keys and values alone cost
    /// 6e-3, and its feed-forward, which has several times their numbers, 1.4e-2.
    ///
    /// Lookups read one row of a table, so fewer bytes would save nothing, and the error of the output table goes into
    /// the logits unsmoothed. Norms are a thousandth of a layer, and their errors scale everything after them.
    pub fn scheme(self, quantize: Scheme) -> Option<Scheme> {
        match (self, quantize) {
            (Self::Table | Self::Norm, _) => None,
            (Self::SelfAttention, Scheme::Int4) => Some(Scheme::Int8),
            (Self::SelfAttention | Self::CrossAttention | Self::FeedForward, scheme) => Some(scheme),
        }
    }
}

/// The name of a scheme in configuration and files.
pub const fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Int8 => "int8",
        Scheme::Int4 => "int4",
    }
}

impl fmt::Display for Arithmetic {
    /// `f32`, `bf16`, `int8` or `int4`. The last two stand beside bfloat16; beside float32 they are `int8+f32` and
    /// `int4+f32`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.quantize, self.precision) {
            (None, Precision::F32) => "f32",
            (None, Precision::Bf16) => "bf16",
            (Some(scheme), Precision::Bf16) => scheme_name(scheme),
            (Some(Scheme::Int8), Precision::F32) => "int8+f32",
            (Some(Scheme::Int4), Precision::F32) => "int4+f32",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_norms_keep_their_precision_and_self_attention_is_never_below_int8() {
        for precision in [Precision::F32, Precision::Bf16] {
            for quantize in [None, Some(Scheme::Int8), Some(Scheme::Int4)] {
                let format = |role| Arithmetic { quantize, ..precision.into() }.format(role);
                assert_eq!((format(Role::Table), format(Role::Norm)), (precision.into(), precision.into()));
                let layers = quantize.map_or_else(|| precision.into(), WeightFormat::Quantized);
                assert_eq!((format(Role::CrossAttention), format(Role::FeedForward)), (layers, layers));
                let int8 = quantize.map_or_else(|| precision.into(), |_| WeightFormat::Quantized(Scheme::Int8));
                assert_eq!(format(Role::SelfAttention), int8);
            }
        }
    }
}
