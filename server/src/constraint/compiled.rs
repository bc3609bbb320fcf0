//! A compiled grammar, and places in it.

use std::fmt;
use std::sync::Arc;

use llguidance::Matcher;

use crate::request::{Constrain, ConstraintError, ConstraintState};

/// A compiled grammar. Its own matcher reads nothing: what the lexer of one learns, and how it fails, is shared by its
/// clones.
pub(super) struct Compiled {
    start: Place,
    /// Bytes of memory that it takes, about.
    bytes: usize,
}

/// A place in a compiled grammar. Clones share their lexer.
#[derive(Clone)]
struct Place {
    matcher: Matcher,
    end_tokens: Arc<[u32]>,
}

impl Compiled {
    /// The grammar of a matcher that has read nothing, which takes about so many bytes of memory.
    pub fn new(matcher: Matcher, end_tokens: &[u32], bytes: usize) -> Self {
        Self { start: Place { matcher, end_tokens: end_tokens.into() }, bytes }
    }
}

impl Constrain for Compiled {
    fn start(&self) -> Box<dyn ConstraintState> {
        let Place { matcher, end_tokens } = &self.start;
        Box::new(Place { matcher: matcher.deep_clone(), end_tokens: Arc::clone(end_tokens) })
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl ConstraintState for Place {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| ConstraintError { reason: error.to_string() })?;
        words.clear();
        words.extend_from_slice(mask.as_slice());
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        // The library stops as soon as nothing but an end token is left, and then reads none.
        if self.matcher.is_stopped() && self.matcher.stop_reason().is_ok() && self.end_tokens.contains(&token) {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(|error| ConstraintError { reason: error.to_string() })
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        out.extend(self.matcher.compute_ff_tokens());
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Compiled(..)")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Place(..)")
    }
}
