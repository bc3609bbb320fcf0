//! T5Gemma as equations over `kernels`, with the files it is loaded from: checkpoints, configuration, tokenizer.
//!
//! Called by `server`. Knows no HTTP, queue or async runtime.

pub mod adaptation;
mod arithmetic;
pub mod checkpoint;
mod class_head;
pub mod config;
mod cost;
mod demo;
mod encoder_model;
mod encoder_parts;
mod encoder_space;
pub mod error;
mod infilling;
pub mod input;
mod layers;
mod logits;
mod model;
mod normal;
pub mod out_file;
mod page_pieces;
mod random;
mod readout;
mod rows;
pub mod shapes;
pub mod tokenizer;
pub mod training;
mod weights;
mod workspace;

pub use adaptation::{AdaptRequest, Adaptation};
pub use arithmetic::{Arithmetic, scheme_name};
pub use checkpoint::{
    ChatFiles, Checkpoint, DecoderCheckpoint, EncoderCheckpoint, TemplateText, TensorData, TensorSource, TensorTable,
    WeightSource, quantize,
};
pub use config::{Architecture, DecoderConfig, EncoderConfig, LayerKind, ModelConfig, PositionLimits, StackConfig};
pub use cost::{EncoderLoad, StepLoad};
pub use encoder_model::EncoderModel;
pub use encoder_parts::{EncoderCost, EncoderParts, LayerParts};
pub use encoder_space::{ENCODER_LANES, EncoderSpace, LaneRows};
pub use error::{Error, Result};
pub use infilling::{Infilling, InfillingPieces, KNOWN_SENTINELS, MOST_SENTINELS};
pub use model::{Model, page_bytes};
pub use out_file::OutFile;
pub use page_pieces::{PagePieces, PageTables};
pub use random::RandomWeights;
pub use readout::{Readout, ReadoutAsk};
pub use rows::{CrossPages, RowTokens, SourceRows, TargetRows};
pub use tokenizer::{Detokenizer, Tokenizer};
pub use workspace::{Workspace, WorkspaceLimits};
