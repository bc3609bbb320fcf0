//! A tensor that is not what a configuration calls for.
//!
//! Collected when a checkpoint is opened, listed by [`super::Error::Tensors`].

use std::fmt;

/// A problem of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorProblem {
    /// It is not there.
    Missing {
        /// Its name.
        name: String,
        /// The shard that the index promised it in.
        shard: Option<String>,
    },
    /// It has another shape.
    Shape {
        /// Its name.
        name: String,
        /// Shape that the configuration calls for.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// It is stored twice with different numbers, and the model has it once.
    Differs {
        /// Its name.
        name: String,
        /// The other name under which it is stored.
        other: String,
    },
    /// Its numbers are of a kind that cannot be used.
    DType {
        /// Its name.
        name: String,
        /// Number type in the file.
        found: String,
        /// Number types that can be used in its place.
        usable: &'static str,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, shard: None } => write!(f, "{name} is missing"),
            Self::Missing { name, shard: Some(shard) } => {
                write!(f, "{name} is missing from {shard}, where the index places it")
            }
            Self::Shape { name, expected, found } => write!(f, "{name} has shape {found:?}, not {expected:?}"),
            Self::Differs { name, other } => {
                write!(f, "{other} holds other numbers than {name}, but both stacks of the model have one table")
            }
            Self::DType { name, found, usable } => {
                write!(
                    f,
                    "{name} is stored as {found}; usable {} {usable}",
                    if usable.contains(' ') { "are" } else { "is" }
                )
            }
        }
    }
}
