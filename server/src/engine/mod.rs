//! The engine: one thread that owns the model, the pages and the scheduler.
//!
//! `api` and the commands reach it through [`EngineHandle`]; nothing outside knows how it plans.

mod encoder_executor;
mod encoding;
mod executor;
mod generation;
mod handle;
mod heartbeat;
mod limits;
mod masks;
mod messages;
mod model_executor;
mod open_requests;
mod output_rows;
mod read_bytes;
mod report;
mod self_test;
mod slots;
mod step_executor;
mod step_loop;
mod step_rows;
mod thread;
mod worker;

pub use encoder_executor::EncoderExecutor;
pub use encoding::{EncodeSubmission, Encoding};
pub use executor::{Executor, ExecutorError};
pub use generation::{Command, Generation, Submission};
pub use handle::EngineHandle;
pub use kernels::TokenScore;
pub use limits::EngineLimits;
pub use masks::MaskLimits;
pub use model_executor::ModelExecutor;
pub use self_test::{SelfTestFailed, self_test};
pub use slots::{Place, Slots};
pub use step_executor::{StepExecutor, StepSizes};
pub use thread::{Engine, EngineSettings};
