//! From the engine's events to what a client gets: whole or piece by piece, in the form of its endpoint.
//!
//! Used by `generation` once a request is in the engine.

mod answer;
mod answer_budget;
mod branch_text;
mod chat_form;
mod chat_logprobs;
mod chat_messages;
mod choice;
mod completion_form;
mod delivery;
mod form;
mod generations;
mod heading;
mod logprobs;
mod opening;
mod prompt_logprobs;
mod record;
mod response_form;
mod response_messages;
mod response_settings;
mod scored_token;
mod stop;
mod stream;
mod stream_options;
mod token_names;
mod usage;
mod whole;
mod writing;

pub use answer::{Answer, Submitted};
pub use answer_budget::{AnswerBudget, AnswerSize, Repeats};
pub use branch_text::stop_check;
pub use chat_form::ChatForm;
pub use chat_messages::ChatCompletion;
pub use choice::ChoiceSettings;
pub use completion_form::{CompletionForm, CompletionMessage};
pub use delivery::Delivery;
pub use form::{AnswerForm, Blocks};
pub use generations::{Generations, PromptEvent};
pub use heading::Heading;
pub use opening::{DecoderTokens, Opening};
pub use prompt_logprobs::prompt_log_prob_bytes;
pub use record::RequestRecord;
pub use response_form::ResponseForm;
pub use response_messages::ResponseMessage;
pub use response_settings::{FixedSettings, ReasoningSettings, ResponseLabels, ResponseSettings, TextSettings};
pub use scored_token::SCORE_BYTES;
pub use stop::{StopStrings, StopText};
pub use stream::stream_answer;
pub use stream_options::StreamOptions;
pub use whole::whole_answer;
pub use writing::{Written, write_json};
