//! `POST /v1/completions`: from the body to a request in the engine.

mod bounds;
mod draft;
mod handler;
mod ids;
mod neutral;
mod numbers;
mod prepare;
mod prompt;
mod request;
mod sampling_fields;
mod stop_field;
mod validation;

pub use handler::completions;
