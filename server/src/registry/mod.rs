//! The models that the server answers with, each with its own engine, tokenizer, limits and metrics.
//!
//! Filled by `http_server`, read by `api`. Holds no weights.

mod capabilities;
mod model_registry;
mod served_model;

pub use capabilities::Capabilities;
pub use model_registry::{ModelRegistry, RegistryError};
pub use served_model::{ServedModel, token_id_name};
