//! Bodies as JSON, read value by value; only the parts that are used are kept.
//!
//! Used by the rooms of single routes, which know what fields mean.

mod body;
mod brief;
mod fields;
mod shape;

pub use body::read_body;
pub use brief::{Brief, skip_rest};
pub use fields::{Fields, FieldsShape, Known, shortened};
pub use shape::{Shape, Shaped};
