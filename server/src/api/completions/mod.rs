//! `POST /v1/completions`: its fields, read and checked.

mod draft;
mod fields;
mod handler;
mod neutral;
mod parse;

pub use fields::FIELDS;
pub use handler::{completions, render_completions};
