//! T5Gemma as equations over `kernels`, with the files it is loaded from: checkpoints, configuration, tokenizer.
//!
//! Called by `server`. Knows no HTTP, queue or async runtime.

pub mod adaptation;
mod arithmetic;
pub mod checkpoint;
mod classifier;
pub mod config;
mod cost;
mod demo;
pub mod error;
pub mod input;
mod layers;
mod logits;
mod model;
mod normal;
pub mod out_file;
mod random;
mod rows;
pub mod shapes;
pub mod tokenizer;
pub mod training;
mod weights;
mod workspace;

pub use adaptation::{AdaptRequest, Adaptation};
pub use arithmetic::{Arithmetic, scheme_name};
pub use checkpoint::{
    Checkpoint, ClassifierCheckpoint, DecoderCheckpoint, TensorData, TensorSource, TensorTable, WeightSource, quantize,
};
pub use classifier::{Classifier, ClassifierLimits, ClassifierSpace};
pub use config::{Architecture, ClassifierConfig, DecoderConfig, LayerKind, ModelConfig, PositionLimits, StackConfig};
pub use cost::{EncoderLoad, StepLoad};
pub use error::{Error, Result};
pub use model::Model;
pub use out_file::OutFile;
pub use random::RandomWeights;
pub use rows::{CrossPages, RowTokens, SourceRows, TargetRows};
pub use tokenizer::{Detokenizer, Tokenizer};
pub use workspace::{Workspace, WorkspaceLimits};
