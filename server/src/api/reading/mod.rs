//! From the first byte of a request to a parsed body and the model that it is for.
//!
//! Used by the rooms of endpoints with bodies. It knows no field but `model`.

mod body_model;
mod reader;

pub use reader::{ReadRequest, Unread, read_request};
