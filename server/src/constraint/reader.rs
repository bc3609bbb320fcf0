//! A parser that reads an answer, with a count of the memory that it keeps of it.
//!
//! Used by `compiled`. After each token it goes on by the bytes that the grammar forces, so what it is depends on the
//! tokens alone, and reading them again gives an equal one.

use llguidance::TokenParser;
use llguidance::api::StopReason;
use llguidance::earley::{BiasComputer, Parser, ParserRecognizer};
use llguidance::toktrie::{SimpleVob, TokEnv, TokTrie};

use super::forced;
use crate::request::ConstraintError;

/// Bytes that a parser keeps of an item of its table, of a row of the table beside its items, and of each text that it
/// captures beside the text. Its lists may have room for twice what they hold.
const ITEM_BYTES: usize = 16;
const ROW_BYTES: usize = 256;
const CAPTURE_BYTES: usize = 64;
/// Bytes that a parser keeps of each byte that it reads.
pub const BYTE_BYTES: usize = 40;

/// See the head of this file. Clones share the lexer.
#[derive(Clone)]
pub struct Reader {
    /// The parser. Nothing else may go on by a token or by forced bytes.
    pub parser: TokenParser,
    /// Bytes of memory of what it keeps of what it has read, about.
    kept_bytes: usize,
    /// Bytes of the rows that the library makes, and drops again, when it tries whether the text may end here.
    tried_bytes: usize,
}

/// Finds no tokens. The library gives its lexer the fuel of a step only when it is asked for tokens.
struct Refill(TokEnv);

impl Reader {
    /// A reader that has read what the grammar forces, within so many bytes of memory.
    ///
    /// # Errors
    /// When the grammar forces more than that.
    pub fn new(parser: TokenParser, most_bytes: usize) -> Result<Self, ConstraintError> {
        let mut reader = Self { parser, kept_bytes: 0, tried_bytes: 0 };
        reader.read_forced(most_bytes)?;
        Ok(reader)
    }

    /// A copy with a lexer of its own.
    pub fn deep_clone(&self) -> Self {
        Self { parser: self.parser.deep_clone(), ..*self }
    }

    /// Bytes of memory of what it keeps of what it has read, about: those of the lexer are not among them.
    pub const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Whether the library has stopped because nothing but an end token is left.
    pub fn is_over(&self) -> bool {
        matches!(self.parser.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }

    /// Gives the lexer the fuel of a step, as a mask would.
    pub fn refuel(&mut self) {
        let refill = Refill(self.parser.token_env.clone());
        // What is found after a beginning is not kept as a mask; after none it would be.
        self.parser.parser.compute_bias(&refill, b" ");
    }

    /// Reads a token and the bytes that it forces, within so many bytes of memory.
    ///
    /// # Errors
    /// When the token is not allowed, or a limit is reached.
    pub fn read(&mut self, token: u32, most_bytes: usize) -> Result<(), ConstraintError> {
        let tried_bytes = if self.has_forced_bytes() { 0 } else { self.tried_bytes };
        let (before, captured) = (self.made_bytes(), self.captures());
        let taken_back = self.parser.consume_token(token).map_err(|error| broken(&error))?;
        if taken_back > 0 {
            return Err(broken(&"it takes back what was written"));
        }
        let read = self.made_bytes();
        self.keep(read - before, tried_bytes, captured);
        self.parser.check_stop().map_err(|error| broken(&error))?;
        self.tried_bytes = self.made_bytes() - read;
        if self.parser.stopped() { Ok(()) } else { self.read_forced(most_bytes) }
    }

    /// Goes on by the bytes that are forced. The library would do so when it is asked for tokens, without a limit.
    fn read_forced(&mut self, most_bytes: usize) -> Result<(), ConstraintError> {
        // Behind forced bytes nothing is forced.
        if self.parser.parser.grammar().lexer_spec().no_forcing || self.has_forced_bytes() {
            return Ok(());
        }
        if !self.parser.is_accepting() {
            forced::check(&mut self.parser.parser, most_bytes.saturating_sub(self.kept_bytes))?;
        }
        let (before, captured) = (self.made_bytes(), self.captures());
        self.parser.parser.force_bytes();
        // Where nothing is forced, all rows were made to find that out.
        if self.has_forced_bytes() {
            self.keep(self.made_bytes() - before, self.tried_bytes, captured);
        }
        Ok(())
    }

    fn has_forced_bytes(&self) -> bool {
        !self.parser.parser.currently_forced_bytes().is_empty()
    }

    fn captures(&self) -> usize {
        self.parser.captures().len()
    }

    fn made_bytes(&self) -> usize {
        made_bytes(&self.parser.parser)
    }

    /// Counts what was made, but for what was tried alone, and what was captured after so many texts.
    fn keep(&mut self, made_bytes: usize, tried_bytes: usize, captured: usize) {
        let captures = self.parser.captures().get(captured..).unwrap_or_default();
        let captured: usize = captures.iter().map(|(name, text)| CAPTURE_BYTES + name.len() + text.len()).sum();
        self.kept_bytes += made_bytes.saturating_sub(tried_bytes) + captured;
    }
}

/// Bytes of memory of everything that a parser has ever made, about, whether it keeps it or not.
pub fn made_bytes(parser: &Parser) -> usize {
    let stats = parser.stats();
    ITEM_BYTES * stats.all_items + ROW_BYTES * stats.rows + BYTE_BYTES * stats.definitive_bytes
}

impl BiasComputer for Refill {
    fn compute_bias(&self, _: &mut ParserRecognizer<'_>, _: &[u8]) -> SimpleVob {
        self.trie().alloc_token_set()
    }

    fn trie(&self) -> &TokTrie {
        self.0.tok_trie()
    }
}

/// An error of the library.
pub fn broken(error: &impl ToString) -> ConstraintError {
    ConstraintError { reason: error.to_string() }
}
