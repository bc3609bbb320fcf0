//! Readers of the fields that several endpoints have, with the bounds they are checked against.
//!
//! Used by the rooms of single endpoints. Pure: no tokenizer, no engine, no clock.

mod cache_salt;
mod decoder_prompt;
mod ids;
mod neutral;
mod numbers;
mod prompt;
mod prompts;
mod sampling;
mod stop;
mod stream_options;

pub use cache_salt::read_cache_salt;
pub use decoder_prompt::{DecoderPrompt, DecoderPromptShape};
pub use ids::IdBounds;
pub use neutral::{Neutral, NeutralFields};
pub use numbers::{saturated, seed_bits, to_u32};
pub use prompt::{Prompt, PromptNames};
pub use prompts::{Excess, PromptBounds, Prompts, PromptsShape};
pub use sampling::read_sampling;
pub use stop::{StopBounds, StopShape, given_stop};
pub use stream_options::{STREAM_OPTIONS, given_stream_options, stream_options_shape};
