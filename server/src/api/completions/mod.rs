//! `POST /v1/completions`: from the body to a request in the engine.

mod admission;
mod body_model;
mod bounds;
mod draft;
mod handler;
mod ids;
mod lengths;
mod neutral;
mod numbers;
mod parse;
mod prompt;
mod request;
mod sampling_fields;
mod stop_field;
mod submission;
mod tokenise;
mod validation;

pub use handler::completions;
