//! The CUDA backend: bfloat16 operands, float32 sums, kernels of `kernels/cu` on a device's stream.
//!
//! Made by `server` and by tests. [`Device`] is all it knows of the device, so the same code launches the same kernels
//! on a GPU and, through the shim, on the processor. Heads, and the halves of gated rows, are multiples of 8 wide;
//! heads at most 256.

#[cfg(not(feature = "cuda"))]
mod absent;
mod activations;
mod attend_full;
mod attend_paged;
mod attention;
mod backend;
mod bandwidth;
mod best;
mod device;
#[cfg(feature = "cuda")]
mod driver;
mod heads;
#[cfg(feature = "cuda")]
mod library;
mod lists;
mod lock;
mod matrix;
mod memory;
mod norm;
mod number;
mod pages;
mod product;
mod product_kernels;
mod queue;
mod recording;
mod replays;
mod rope;
mod rows;
mod rule;
mod sample;
mod sampling;
mod score;
mod scratch;
#[cfg(feature = "cuda-shim")]
mod shim;
mod storage;
mod stream;

#[cfg(not(feature = "cuda"))]
pub use absent::{Driver, is_present};
pub use activations::Activations;
pub use backend::{Cuda, computes};
pub use device::{Blocks, Device, LargeProduct, Launch, Params, Work};
#[cfg(feature = "cuda")]
pub use driver::{Driver, is_present};
pub use matrix::Matrix;
pub use norm::Gain;
pub use pages::Pages;
pub use rope::RopeTable;
pub use sample::Drawn;
#[cfg(feature = "cuda-shim")]
pub use shim::Shim;
