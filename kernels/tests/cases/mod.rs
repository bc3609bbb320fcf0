//! One table of cases for every op: what holds for each backend, against the reference.
//!
//! Unused pages hold large noise, so that an op which reads past what it may see fails loudly. Run for the processor by
//! `cpu.rs`, for CUDA by `cuda`.

mod attention;
mod columns;
mod numbers;
mod page_copies;
mod paged_attention;
mod pages;
mod products;
mod rotary;
mod rows;
pub mod rules;
mod runner;
mod sampling;
mod scores;

pub use attention::*;
pub use columns::*;
pub use numbers::*;
pub use page_copies::*;
pub use paged_attention::*;
pub use pages::*;
pub use products::*;
pub use rotary::*;
pub use rows::*;
pub use runner::*;
pub use sampling::*;
pub use scores::*;
