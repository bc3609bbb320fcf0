//! Constraints on answers: JSON schemas, regular expressions, grammars, and choices among given strings.
//!
//! Compiled by `api` from what a client asks for, on threads for long work; followed by the engine through
//! [`crate::request::ConstraintState`]. Knows tokens and text, and nothing of HTTP or the scheduler.

mod compiled;
mod compiler;
mod fair_semaphore;
mod forced;
mod form_cache;
mod grammar;
mod mask_finder;
#[cfg(test)]
mod masks;
mod reach;
mod reader;
mod runs;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod siblings;
mod targets;
#[cfg(test)]
mod tests;
mod token_tree;
pub mod trial;
mod vocabulary;

pub use compiler::{CompiledForm, CompilerTools, Form, FormCompiler, FormError};
pub use form_cache::FormCacheLimits;
pub use grammar::{Grammar, GrammarError};
pub use targets::{Targets, TargetsError};
pub use trial::{TrialLimits, Trials};
pub use vocabulary::Vocabulary;
