//! Bodies as JSON, read value by value; only the parts that are used are kept.
//!
//! Used by the rooms of single routes, which declare their fields and know what they mean.

mod beginning;
mod body;
mod brief;
#[cfg(test)]
mod documented;
mod field;
mod field_table;
mod fields;
mod limit_values;
mod neutral;
mod schema;
mod shape;
mod text;

pub use beginning::text_in_beginning;
pub use body::read_body;
pub use brief::{Brief, OwnedText, skip_rest};
#[cfg(test)]
pub use documented::{Documented, hold_tables};
pub use field::{Field, Most};
pub use field_table::FieldTable;
pub use fields::{Fields, FieldsShape, Known, shortened};
pub use limit_values::{LimitValue, LimitValues};
pub use neutral::Neutral;
pub use schema::{any_of, ids_schema, list_schema, object_schema, text_schema};
pub use shape::{Shape, Shaped};
pub use text::{TextFieldShape, TextShape, json_bytes};
