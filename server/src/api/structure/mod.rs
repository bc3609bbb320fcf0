//! Structured output: the fields of generating endpoints that give the form of an answer, read, checked and compiled.
//!
//! Read by the rooms of endpoints; `generation` has the form compiled once everything else is checked.

mod bounded_json;
mod compile;
mod declared;
mod draft;
mod form_text;
mod given;
mod members;
mod response_format;
mod structured_outputs;
#[cfg(test)]
mod tests;

pub use bounded_json::BoundedJsonShape;
pub use compile::compiled;
pub use declared::{STRUCTURE, StructureBounds, text_format_schema};
pub use draft::StructureDraft;
pub use form_text::RenderedStructure;
pub use given::GivenStructure;
pub use members::Members;
pub use response_format::{TextFormat, read_text_format};
