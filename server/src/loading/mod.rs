//! From settings to a model that can run: weights, tokenizer, limits, engine.
//!
//! Called by the commands. The only place that knows where weights come from and which backend runs them.

mod device;
mod encoder;
mod error;
mod fit;
mod lanes;
mod load;
mod loaded;
mod loaded_encoder;
mod loaded_model;
mod memory_need;
mod resident_encoder;
mod tokenizer;

pub use encoder::load_encoder_on_processor;
pub use error::LoadError;
pub use load::{load, load_profiled};
pub use loaded::Loaded;
pub use loaded_encoder::LoadedEncoder;
pub use loaded_model::{LoadedModel, ModelFacts};
pub use memory_need::{MemoryNeed, Remedy};
pub use tokenizer::tokenizer_beside;
