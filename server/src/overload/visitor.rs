//! A call whose body is not read yet: what is known of it decides whether it is worth reading.

use crate::request::{Party, Priority};

/// The kind of a call, as far as its path tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallKind {
    /// Targets.
    Targets,
    /// Runs of the encoder alone.
    Encodings,
    /// Either of them.
    #[default]
    Any,
}

/// A call whose body is not read yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visitor {
    /// Its client.
    pub party: Party,
    /// Its priority.
    pub priority: Priority,
    /// The kind of work that it will ask for.
    pub kind: CallKind,
}

impl CallKind {
    /// Whether the call has targets, in all ways that are possible.
    pub(super) const fn may_have_target(self) -> &'static [bool] {
        match self {
            Self::Targets => &[true],
            Self::Encodings => &[false],
            Self::Any => &[true, false],
        }
    }
}
