//! HTTP: OpenAI's completions over the engine's door.
//!
//! [`router`] is the entry. Nothing here knows pages, steps or tensors; the engine is reached through its handle.

mod error;
mod fields;
mod neutral;
mod prompt;
mod request;
mod stop;

pub use error::ApiError;
