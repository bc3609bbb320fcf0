//! `POST /v1/responses`: its fields, read and checked.

mod draft;
mod fields;
mod handler;
mod include;
mod input;
mod neutral;
mod parse;
mod settings;
mod text;

pub use fields::FIELDS;
pub use handler::{nothing_stored, responses};
