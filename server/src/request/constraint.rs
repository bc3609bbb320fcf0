//! A constraint: which ids may come next in a target, given those before.
//!
//! Built by `constraint` from what a client asks for; followed on threads of the engine, one state for each line of
//! tokens.

use std::fmt;
use std::sync::Arc;

/// A constraint that cannot be followed any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the form of the answer cannot be followed any further; ask for a simpler one: {reason}")]
pub struct ConstraintError {
    /// Why.
    pub reason: String,
}

/// A form that every answer of a request must have, token by token.
pub trait Constrain: fmt::Debug + Send + Sync {
    /// The state before the first generated token.
    fn start(&self) -> Box<dyn ConstraintState>;

    /// Bytes of memory that it takes, about; 0 where they are few.
    fn bytes(&self) -> usize {
        0
    }

    /// Bytes of memory that each of a request's answers takes beside, about; 0 where they are few.
    fn answer_bytes(&self) -> usize {
        0
    }

    /// Most tokens of a target, the end token included; `None` where that is not known. What is known makes the search
    /// for the best targets exact.
    fn longest(&self) -> Option<usize> {
        None
    }
}

/// A place in a constraint: the tokens so far, as far as they matter.
pub trait ConstraintState: fmt::Debug + Send {
    /// A copy that goes on by itself.
    fn fork(&self) -> Box<dyn ConstraintState>;

    /// Replaces `words` by the bits of the ids that may come next: id `i` is bit `i % 32` of word `i / 32`. End tokens
    /// are among them where the answer may end.
    ///
    /// # Errors
    /// When the ids cannot be found within the constraint's limits; `words` are then of no meaning.
    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError>;

    /// Goes on by a token that was allowed.
    ///
    /// # Errors
    /// When it was not.
    fn advance(&mut self, token: u32) -> Result<(), ConstraintError>;

    /// Most tokens that may come after a token, the end token included; `None` where that is not known, or the token is
    /// not allowed. Quick, because the engine thread asks.
    fn longest_after(&self, _token: u32) -> Option<usize> {
        None
    }

    /// Appends the tokens that come next because there is no other choice, without going on by them. It may leave out
    /// any of them at the end, and leaves out end tokens.
    fn list_forced(&mut self, out: &mut Vec<u32>);
}

/// A shared [`Constrain`]. Equal to itself and its clones only.
#[derive(Debug, Clone)]
pub struct Constraint(Arc<dyn Constrain>);

impl Constraint {
    /// Shares a constraint.
    pub fn new(constraint: impl Constrain + 'static) -> Self {
        Self(Arc::new(constraint))
    }

    /// The state before the first generated token.
    pub fn start(&self) -> Box<dyn ConstraintState> {
        self.0.start()
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Bytes of memory that each of a request's answers takes beside, about.
    pub fn answer_bytes(&self) -> usize {
        self.0.answer_bytes()
    }

    /// Most tokens of a target, the end token included; `None` where that is not known.
    pub fn longest(&self) -> Option<usize> {
        self.0.longest()
    }
}

impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
