//! T5Gemma as equations over `kernels`, with the files it is loaded from: checkpoints, configuration, tokenizer.
//!
//! Called by `server`. Knows no HTTP, queue or async runtime.

pub mod adaptation;
mod arithmetic;
pub mod checkpoint;
mod classifier;
pub mod config;
mod cost;
mod cross;
mod decoder;
mod demo;
pub mod detokenizer;
mod encoder;
pub mod error;
pub mod input;
mod logits;
mod normal;
pub mod out_file;
mod pieces;
mod random;
pub mod shapes;
mod t5gemma;
pub mod tokenizer;
pub mod training;
mod weights;
mod workspace;

pub use adaptation::{AdaptRequest, Adaptation};
pub use arithmetic::{Arithmetic, scheme_name};
pub use checkpoint::{
    Checkpoint, CheckpointKind, ClassifierCheckpoint, DecoderCheckpoint, TensorData, TensorTable, quantize,
};
pub use classifier::{Classifier, ClassifierSpace};
pub use config::{ClassifierConfig, DecoderConfig, LayerKind, ModelConfig, PositionLimits, StackConfig};
pub use cost::StepLoad;
pub use cross::CrossPages;
pub use decoder::{DrawnTokens, TargetRows};
pub use detokenizer::Detokenizer;
pub use encoder::SourceRows;
pub use error::{Error, Result};
pub use out_file::OutFile;
pub use random::RandomWeights;
pub use t5gemma::Model;
pub use tokenizer::Tokenizer;
pub use weights::{TensorSource, WeightSource};
pub use workspace::{Workspace, WorkspaceLimits};
