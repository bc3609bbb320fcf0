//! `POST /v1/chat/completions`: its fields, read and checked.

mod draft;
mod fields;
mod handler;
mod neutral;
mod parse;

pub use draft::DIALECT;
pub use fields::{ADD_GENERATION_PROMPT, FIELDS, MESSAGES, PARTS};
pub use handler::{chat_completions, render_chat};
pub use parse::{Turn, read_turn};
