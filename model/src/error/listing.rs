//! A list of problems, one a line.
//!
//! Used by the messages of [`super::Error`].

use std::fmt;

/// Number of problems that are listed. All problems of a wrong checkpoint would fill screens.
const LISTED_PROBLEMS: usize = 20;

/// Shows the first problems, and how many more there are.
pub(super) struct Listing<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Listing<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0.iter().take(LISTED_PROBLEMS) {
            write!(f, "\n  - {problem}")?;
        }
        match self.0.len().saturating_sub(LISTED_PROBLEMS) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
