//! Checkpoints: a configuration with the stored numbers of every tensor it calls for.
//!
//! Opened by the server, by adaptation and by training. The names of tensors, their table, the folder's files and the
//! writing of a checkpoint live here; the arithmetic does not.

mod bytes;
mod chat_files;
mod checkpoint_config;
pub(crate) mod float_file;
pub(crate) mod folder;
mod gguf;
pub(crate) mod layout;
mod locate;
mod location;
mod names;
mod open_checkpoint;
pub(crate) mod open_file;
mod quantize;
mod quantized_tensor;
mod shard_index;
mod shards;
mod source;
mod table;
mod tensor_data;
mod tensor_file;
mod tensors;
mod vision_tower;
pub(crate) mod writer;

pub use chat_files::{ChatFiles, TemplateText};
pub use checkpoint_config::CheckpointConfig;
pub(crate) use names::{
    AttentionNames, ClassHeadNames, FeedForwardNames, HeadNormNames, StackNames, is_cross_attention,
};
pub use names::{Spelling, TableNames};
pub(crate) use open_checkpoint::NetworkCheckpoint;
pub use open_checkpoint::{Checkpoint, DecoderCheckpoint, EncoderCheckpoint, OpenCheckpoint, architecture_of};
pub use quantize::quantize;
pub use source::{TensorSource, WeightSource};
pub use table::TensorTable;
pub(crate) use tensor_data::Numbers;
pub use tensor_data::TensorData;
pub(crate) use vision_tower::VisionTower;
