//! `POST /v1/completions`: its fields, read and checked.

mod draft;
mod handler;
mod neutral;
mod parse;
mod validation;

pub use handler::completions;
