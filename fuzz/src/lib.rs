//! Hostile input for every parser of bytes from outside, each as a [`Target`].
//!
//! Run for a bounded time by this crate's tests, and by libFuzzer for as long as one likes. A target fails by a panic,
//! anywhere in the process, or by taking too long.

mod bodies;
mod chat_templates;
mod configs;
mod connections;
mod grammars;
mod mutations;
mod running_server;
mod seeds;
mod target;
mod tensors;
mod tokenizers;

pub use bodies::BODIES;
pub use chat_templates::CHAT_TEMPLATES;
pub use configs::CONFIGS;
pub use connections::CONNECTIONS;
pub use grammars::GRAMMARS;
pub use mutations::Mutator;
pub use target::Target;
pub use tensors::TENSORS;
pub use tokenizers::TOKENIZERS;

/// All targets.
pub const TARGETS: [Target; 7] = [BODIES, CONNECTIONS, TOKENIZERS, CONFIGS, TENSORS, CHAT_TEMPLATES, GRAMMARS];
