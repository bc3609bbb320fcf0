//! Chat templates: from the messages of a conversation to the text that a model reads.
//!
//! Compiled by `loading`, used by `api`. Knows no HTTP, tokens or engine.

mod conversation;
mod functions;
mod json;
mod limited_writer;
mod template;

pub use conversation::{ChatMessage, Conversation, TemplateValue};
pub use template::{ChatTemplate, CompileError, PLAIN, RenderError};
