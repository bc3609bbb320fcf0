//! From the engine's events to what a client gets: whole or piece by piece.
//!
//! Used by the rooms of single routes once a request is in the engine.

mod answer_budget;
mod choice;
mod completion;
mod delivery;
mod generations;
mod logprobs;
mod opening;
mod record;
mod stop;
mod stream;
mod whole;
mod wire;

pub use answer_budget::{AnswerBudget, AnswerSize};
pub use choice::ChoiceSettings;
pub use completion::{Completion, Submitted};
pub use delivery::Delivery;
pub use opening::{DecoderTokens, Opening};
pub use record::RequestRecord;
pub use stop::StopStrings;
pub use stream::{StreamOptions, stream_answer};
pub use whole::whole_answer;
pub use wire::{Blocks, Heading};
