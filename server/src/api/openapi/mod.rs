//! `GET /openapi.json`: the API described for programs, from the declarations that parse requests and from the types
//! that make answers.
//!
//! Asked by the router. A path is described in `operations`, in one line.

mod description;
mod document;
mod handler;
mod operations;

pub use handler::openapi;
#[cfg(test)]
pub use operations::operations;
