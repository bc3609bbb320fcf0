//! Measurement: what each request showed, and what all of them together say. Memory does not grow with their number.
//!
//! Knows neither HTTP nor files.

mod figures;
mod record;
mod recorder;
mod spread;
mod timeline;

pub use figures::{ErrorCount, Figures, KeyedFigure, keys};
pub use record::{Arrival, Record, Slot};
pub use recorder::{Counts, Recorder};
pub use spread::Spread;
pub use timeline::{Second, Timeline};
