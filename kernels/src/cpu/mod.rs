//! The CPU backend: run-time dispatch over instruction sets, packed weights, a fixed thread pool.
//!
//! Made by `server` and by tests. Activations are float32 rows; `matrix` and `pages` hold the packed layouts. The ops
//! are in `ops`, by the nouns of [`crate::Backend`]; the files beside it know an [`Isa`] and a pool of threads, but no
//! backend.

mod activations;
mod attend_full;
mod attend_paged;
mod bandwidth;
mod buffer;
mod choose;
mod matrix;
mod ops;
mod pages;
mod panel;
mod panel_filter;
mod parts;
mod pool;
mod processor;
mod product;
mod quantized;
mod rows;
mod sample;
mod score;
mod screen;
mod share;
mod softmax;
mod tile;
mod turns;
mod weight_memory;
mod words;

pub use crate::isa::{Isa, Level};
pub use activations::{Activations, Gain, RopeTable};
pub use buffer::{Buffer, Plain};
pub use matrix::Matrix;
pub use pages::Pages;
pub use processor::{Cpu, Threads};
