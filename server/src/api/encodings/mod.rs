//! Routes that the encoder answers alone: `POST /v1/embeddings`, `/v1/encode`, `/v1/classify` and `/pooling`.
//!
//! All of them read inputs, have the engine encode each, and write what it reads of the states. The differences are a
//! `Task`.

mod admission;
mod base64_numbers;
mod call;
mod classify;
mod draft;
mod embeddings;
mod encode;
mod handler;
mod input_fields;
mod list;
mod pooling;
mod task;
mod vectors;

pub use classify::{Class, Classify};
pub use embeddings::{Embedding, Embeddings};
pub use encode::{Encode, States};
pub use handler::answer;
pub use list::ListMessage;
pub use pooling::{Pooled, Pooling};
pub use task::Task;
