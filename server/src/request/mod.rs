//! Requests to an engine, their callers, and the engine's answers: plain data over token ids.
//!
//! Built by `api` and the commands, read by the scheduler and the engine. Imports neither of them, and knows no text.

mod beams;
mod caller;
mod constraint;
mod controls;
mod defaults;
mod encoding;
mod event;
mod generation;
mod party;
mod priority;
mod refusal;
mod salt;
mod shed;
mod stop_check;

pub use beams::{BeamSearch, EarlyStopping};
pub use caller::{CallId, Caller};
pub use constraint::{Constrain, Constraint, ConstraintError, ConstraintState};
pub use controls::{Controls, TokenBias, TokenSet};
pub use defaults::{RequestDefaults, TokenLimit};
pub use encoding::{EncodeRequest, EncodingEvent, Readout};
pub use event::{FailureKind, FinishReason, GenerationEvent, Rating};
pub use generation::{GenerationRequest, PromptScores, RequestId, RequestLengths, sampling_temperature};
pub use party::Party;
pub use priority::Priority;
pub use refusal::Refusal;
pub use salt::Salt;
pub use shed::{Shed, ShedReason};
pub use stop_check::{StopCheck, StopScan};
