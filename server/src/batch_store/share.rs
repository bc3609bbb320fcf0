//! Bounds of what is kept: one for all together, and one for each key, so that no key fills the store alone.
//!
//! Used by `store` and `jobs`; the messages are those of `error`.

use std::fmt::{Display, Formatter};

/// Bounds of one thing that is kept, for one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The bound of all together.
    pub all: u64,
    /// The bound of the owner, if it is a key.
    pub of_key: Option<u64>,
}

/// A bound that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The bound of all together.
    All(u64),
    /// The bound of one key.
    Key(u64),
}

impl Bounds {
    /// The bound that would be exceeded with so much of all together, and so much of the owner.
    pub fn exceeded(self, all: u64, of_owner: u64) -> Option<Bound> {
        match self {
            Self { of_key: Some(most), .. } if of_owner > most => Some(Bound::Key(most)),
            Self { all: most, .. } if all > most => Some(Bound::All(most)),
            _ => None,
        }
    }
}

impl Display for Bound {
    /// The number, and what it holds for.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All(most) => write!(formatter, "{most}"),
            Self::Key(most) => write!(formatter, "{most} for one key (batches.key_percent)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_meets_its_own_bound_before_that_of_all() {
        let bounds = Bounds { all: 10, of_key: Some(5) };
        assert_eq!(bounds.exceeded(10, 5), None);
        assert_eq!(bounds.exceeded(10, 6), Some(Bound::Key(5)));
        assert_eq!(bounds.exceeded(11, 1), Some(Bound::All(10)));
        assert_eq!(Bounds { all: 10, of_key: None }.exceeded(10, 10), None);
    }
}
