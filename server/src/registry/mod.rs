//! The models that the server answers with, each with its own engine, tokenizer, limits and metrics.
//!
//! Filled by `http_server`, read by `api`. Holds no weights.

mod capabilities;
mod longest_token;
mod model_registry;
mod served_model;
mod token_name;

pub use capabilities::Capabilities;
pub use longest_token::LongestToken;
pub use model_registry::{ModelRegistry, RegistryError};
pub use served_model::ServedModel;
pub use token_name::token_id_name;
