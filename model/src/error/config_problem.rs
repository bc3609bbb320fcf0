//! A missing or unusable field of a configuration.
//!
//! Collected by the readers of `config`, listed by [`super::Error::Config`].

use std::fmt;

/// One missing or unusable field of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Path of the field, as `decoder.head_dim`.
    pub field: String,
    /// The problem.
    pub reason: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.reason)
    }
}
