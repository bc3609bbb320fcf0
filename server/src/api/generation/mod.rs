//! Steps that all generating endpoints share: from a body that its own room reads to a request in the engine, and its
//! answer.
//!
//! [`generate`] is the entry. It knows no field of a body.

mod admission;
mod asked;
mod bounds;
mod call;
mod handler;
mod infilling;
mod lengths;
mod render;
mod rendered;
mod rendered_controls;
mod rules;
mod submission;
mod tokenise;

pub use asked::Asked;
pub use bounds::RequestBounds;
pub use call::{CallNames, CallSources, GenerationCall};
pub use handler::generate;
pub use render::render;
pub use rendered::RenderedRequest;
pub use rules::{Excesses, validate};
pub use tokenise::render_conversation;
