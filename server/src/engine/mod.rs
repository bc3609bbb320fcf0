//! The engine: one thread that owns the model, the pages and the scheduler.
//!
//! `api`, `generate` and `bench` reach it through [`EngineHandle`]; nothing outside knows how it plans.

mod handle;
mod request;

pub use handle::{Command, EngineHandle, EngineLimits, Generation, Slots, Submission};
pub use request::{FinishReason, GenerationEvent, GenerationRequest, Refusal, RequestId, TokenScore};
