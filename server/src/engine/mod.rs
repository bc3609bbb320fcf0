//! The engine: one thread that owns the model, the pages and the scheduler.
//!
//! `api`, `generate` and `bench` reach it through [`EngineHandle`]; nothing outside knows how it plans.

mod executor;
mod handle;
mod limits;
mod model_executor;
mod output_rows;
mod pulse;
mod self_test;
mod step_executor;
mod step_rows;
mod worker;

pub use executor::{Executor, ExecutorError};
pub use handle::{Command, EngineHandle, Generation, Slots, Submission};
pub use kernels::TokenScore;
pub use limits::EngineLimits;
pub use model_executor::ModelExecutor;
pub use self_test::{SelfTestFailed, self_test};
pub use step_executor::{StepExecutor, StepSizes};
pub use worker::{Engine, EngineSettings};
