//! T5Gemma as equations over `kernels`, with the files it is loaded from: checkpoints, configuration, tokenizer.
//!
//! Called by `server`. Knows no HTTP, queue or async runtime.

pub mod checkpoint;
pub mod config;
mod demo;
pub mod detokenizer;
pub mod error;
pub mod shapes;
pub mod tokenizer;

pub use checkpoint::{Checkpoint, TensorTable};
pub use config::{LayerKind, ModelConfig, StackConfig};
pub use detokenizer::Detokenizer;
pub use error::{Error, Result};
pub use tokenizer::Tokenizer;
