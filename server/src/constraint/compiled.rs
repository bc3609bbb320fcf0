//! A compiled grammar, and places in it.

use std::fmt;
use std::sync::Arc;

use llguidance::TokenParser;
use llguidance::api::StopReason;

use crate::request::{Constrain, ConstraintError, ConstraintState};

/// Bytes of an item of a parser's table, of what it keeps of each lexeme beside, and of each text that it captures.
const ITEM_BYTES: usize = 16;
const LEXEME_BYTES: usize = 256;
const CAPTURE_BYTES: usize = 64;

/// A compiled grammar.
pub(super) struct Compiled(Arc<Shared>);

/// Everything that the places of a grammar share.
struct Shared {
    /// Has read nothing. What the lexer of a parser learns, and how it fails, is shared by its clones, so every answer
    /// begins with a deep clone of this one.
    start: TokenParser,
    end_tokens: Vec<u32>,
    size: Size,
}

/// Bytes of memory, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes of the compiled grammar.
    pub compiled: usize,
    /// Bytes that every answer has for itself when it begins.
    pub answer: usize,
    /// Most bytes that an answer may take beyond these.
    pub growth: usize,
}

/// A place in a grammar. Its clones share its lexer.
#[derive(Clone)]
struct Place {
    shared: Arc<Shared>,
    parser: TokenParser,
    /// Tokens that were read.
    tokens: Vec<u32>,
    /// Bytes of what the parser keeps of them.
    read_bytes: usize,
}

impl Compiled {
    /// The grammar of a parser that has read nothing.
    pub fn new(start: TokenParser, end_tokens: &[u32], size: Size) -> Self {
        Self(Arc::new(Shared { start, end_tokens: end_tokens.to_vec(), size }))
    }
}

impl Constrain for Compiled {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Place::start(&self.0))
    }

    fn bytes(&self) -> usize {
        self.0.size.compiled
    }

    fn answer_bytes(&self) -> usize {
        self.0.size.answer
    }
}

impl Place {
    fn start(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), parser: shared.start.deep_clone(), tokens: Vec::new(), read_bytes: 0 }
    }

    /// Whether the library has stopped because nothing but an end token is left.
    fn is_over(&self) -> bool {
        matches!(self.parser.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }

    /// Bytes beyond those of a beginning.
    fn growth(&self) -> usize {
        let lexer_bytes = |parser: &TokenParser| parser.parser.lexer_stats().num_bytes;
        self.read_bytes + lexer_bytes(&self.parser).saturating_sub(lexer_bytes(&self.shared.start))
    }

    /// Forgets what the lexer has learned where that takes too much memory: it learns anew what it needs.
    fn stay_small(&mut self) -> Result<(), ConstraintError> {
        let most = self.shared.size.growth;
        if self.growth() <= most {
            return Ok(());
        }
        let mut anew = Self::start(&self.shared);
        self.tokens.iter().try_for_each(|&token| anew.read(token))?;
        if anew.growth() > most {
            let reason = format!("following it takes more than {most} bytes (limits.form_growth_bytes)");
            return Err(ConstraintError { reason });
        }
        *self = anew;
        Ok(())
    }

    fn read(&mut self, token: u32) -> Result<(), ConstraintError> {
        let parser = &mut self.parser;
        let (before, captured) = (parser.parser_stats().clone(), parser.captures().len());
        let taken_back = parser.consume_token(token).map_err(|error| broken(&error))?;
        if taken_back > 0 {
            return Err(broken(&"it takes back what was written"));
        }
        let more = parser.parser_stats().delta(&before);
        parser.check_stop().map_err(|error| broken(&error))?;
        let captures = parser.captures().get(captured..).unwrap_or_default();
        let captured: usize = captures.iter().map(|(name, text)| CAPTURE_BYTES + name.len() + text.len()).sum();
        self.read_bytes += ITEM_BYTES * more.all_items + LEXEME_BYTES * more.rows + captured;
        self.tokens.push(token);
        Ok(())
    }
}

impl ConstraintState for Place {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        let mask = if self.is_over() {
            self.parser.token_env.tok_trie().eos_token_set()
        } else {
            self.parser.compute_mask().map_err(|error| broken(&error))?
        };
        words.clear();
        words.extend_from_slice(mask.as_slice());
        self.stay_small()
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        // What is over reads nothing more.
        if self.is_over() && self.shared.end_tokens.contains(&token) {
            return Ok(());
        }
        self.read(token)
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        out.extend(self.parser.compute_ff_tokens());
    }
}

fn broken(error: &impl ToString) -> ConstraintError {
    ConstraintError { reason: error.to_string() }
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
