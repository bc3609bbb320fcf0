//! From settings to models that can run: weights, tokenizer, limits, engine.
//!
//! Called by the commands. The only place that knows where weights come from and which backend runs them.

mod chat;
mod device;
mod encoder;
mod error;
mod failures;
mod fetched;
mod fit;
mod infilling;
mod lanes;
mod load;
mod loaded;
mod loaded_encoder;
mod loaded_model;
mod memory_need;
mod request_defaults;
mod resident_encoder;
mod shared;
mod tokenizer;

pub use encoder::load_encoder_on_processor;
pub use error::LoadError;
pub use failures::{Failures, OfModel, all_of};
pub use fetched::fetched;
pub use fit::fit;
pub use load::{load, load_profiled};
pub use loaded::Loaded;
pub use loaded_encoder::LoadedEncoder;
pub use loaded_model::{LoadedModel, ModelFacts};
pub use memory_need::{MemoryNeed, Remedy};
pub use tokenizer::tokenizer_beside;
