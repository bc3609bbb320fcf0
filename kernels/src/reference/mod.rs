//! Every op in its slow, obvious form: scalar float32, textbook order.
//!
//! Every other backend is held to it (`tests/cases`). It is a backend itself, so that a whole model can run on it.
//! Formulas follow Hugging Face transformers 5.17, `modeling_t5gemma.py`, eager attention.

mod activations;
mod attention;
mod device;
mod formulas;
mod matrix;
mod pages;
mod products;
mod quantized;
mod rows;
mod sampling;
mod storage;

pub use activations::Activations;
pub use device::{Reference, Rounding};
pub use formulas::{gelu_tanh, rms_norm, rope_angle, softcap};
pub use matrix::Matrix;
pub use pages::Pages;
pub use storage::RopeTable;
