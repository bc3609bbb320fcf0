//! The configuration of a checkpoint: its architecture, its stacks, its special tokens.
//!
//! Only this folder reads and writes `config.json` and `generation_config.json`. Every value has been checked when a
//! configuration exists, so its users do not check again. Knows no tensors.

mod adapted;
mod adapted_merged;
mod architecture;
mod decoder_only;
mod denoising;
mod document;
mod edits;
mod encoder;
mod encoder_decoder;
mod encoder_fields;
mod fields;
mod gemma3;
mod gguf;
mod ignored_keys;
mod labels;
mod network;
mod quantization;
mod rope_fields;
mod saved;
mod special_tokens;
mod stack;
mod stack_fields;
mod wishes;

pub(crate) use adapted::{AdaptedConfig, AdaptedSource};
pub(crate) use adapted_merged::merged_pair;
pub use architecture::{Architecture, Generation, Head, Stacks};
pub use decoder_only::DecoderConfig;
pub use denoising::DenoisingTokens;
pub use document::ConfigDocument;
pub use encoder::EncoderConfig;
pub use encoder_decoder::{ModelConfig, PositionLimits};
pub(crate) use gguf::GgufModel;
pub(crate) use labels::named_twice;
pub use network::NetworkConfig;
pub use special_tokens::SpecialTokens;
pub(crate) use stack::alternating;
pub use stack::{LayerKind, LayerRopes, StackConfig};
pub use wishes::{GenerationWishes, NamedWish, SearchEnd};
