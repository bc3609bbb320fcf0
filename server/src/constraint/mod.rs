//! Constraints on answers: JSON schemas, regular expressions, grammars, and choices among given strings.
//!
//! Compiled by `api` from what a client asks for, on threads for long work; followed by the engine through
//! [`crate::request::ConstraintState`]. Knows tokens and text, and nothing of HTTP or the scheduler.

mod compiled;
mod grammar;
mod targets;
#[cfg(test)]
mod tests;
pub mod trial;
mod vocabulary;

pub use grammar::{Grammar, GrammarError};
pub use targets::{Targets, TargetsError};
pub use trial::Trials;
pub use vocabulary::Vocabulary;
