//! From settings to a model that can run: weights, tokenizer, limits, engine.
//!
//! Called by the commands. The only place that knows where weights come from and which backend runs them.

mod classifier;
mod device;
mod error;
mod fit;
mod load;
mod loaded;
mod memory_need;
mod tokenizer;

pub use classifier::load_classifier;
pub use error::LoadError;
pub use load::{load, load_profiled};
pub use loaded::Loaded;
pub use memory_need::{MemoryNeed, Remedy};
pub use tokenizer::tokenizer_beside;
