//! The fused ops of training with their gradients, on float32 slices, for the CPU.
//!
//! Called by the custom ops of the trainer's network. Work is divided into tasks of fixed size, so that no sum
//! depends on the number of threads. Nothing here knows a tensor library or a layer.

mod adamw;
mod attention;
mod cross_entropy;
mod dropout;
mod embedding;
mod geglu;
mod lanes;
mod norm;
mod product;

pub use adamw::{AdamWStep, adamw_first, adamw_second, adamw_weights, scale, sum_of_squares};
pub use attention::{Attended, AttendedRef, Attention, AttentionInputs, attend, attend_backward};
pub use cross_entropy::{CrossEntropy, CrossEntropyOutput, Head, Teacher, cross_entropy};
pub use dropout::{Dropout, dropout};
pub use embedding::Lookup;
pub use geglu::{geglu, geglu_backward};
pub use norm::{rms_norm, rms_norm_backward};
pub use product::{Matrix, MatrixMut, Product, Workers};

#[cfg(test)]
mod tests;
