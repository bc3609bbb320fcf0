//! `POST /v1/chat/completions`: its fields, read and checked.

mod draft;
mod fields;
mod handler;
mod neutral;
mod parse;

pub use fields::FIELDS;
pub use handler::{chat_completions, render_chat};
