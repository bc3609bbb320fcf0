//! A compiled grammar, and places in it.

use std::fmt;
use std::sync::Arc;

use llguidance::TokenParser;
use llguidance::api::StopReason;
use llguidance::earley::{BiasComputer, ParserRecognizer};
use llguidance::toktrie::{SimpleVob, TokEnv, TokTrie};

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
    /// Most bytes that an answer may need beyond these. It may take a quarter more.
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
    /// Growth up to which the lexer keeps what it has learned.
    retry_at: usize,
}

/// Finds no tokens. The library gives its lexer the fuel of a step only when it is asked for tokens.
struct Refill(TokEnv);

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
        Self {
            shared: Arc::clone(shared),
            parser: shared.start.deep_clone(),
            tokens: Vec::new(),
            read_bytes: 0,
            retry_at: shared.size.growth,
        }
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
    ///
    /// What it needs may be nearly as much, so it is left to grow by a quarter before it forgets again.
    fn stay_small(&mut self) -> Result<(), ConstraintError> {
        if self.growth() <= self.retry_at {
            return Ok(());
        }
        let most = self.shared.size.growth;
        let mut anew = Self::start(&self.shared);
        let refill = Refill(self.parser.token_env.clone());
        for &token in &self.tokens {
            anew.refuel(&refill);
            anew.read(token)?;
        }
        if anew.growth() > most {
            let reason = format!("following it takes more than {most} bytes (limits.form_growth_bytes)");
            return Err(ConstraintError { reason });
        }
        anew.retry_at = most.max(anew.growth() + most / 4);
        *self = anew;
        Ok(())
    }

    /// Gives the lexer the fuel of a step, as a mask would.
    fn refuel(&mut self, refill: &Refill) {
        // What is found after a beginning is not kept as a mask; after none it would be.
        self.parser.parser.compute_bias(refill, b" ");
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

impl BiasComputer for Refill {
    fn compute_bias(&self, _: &mut ParserRecognizer<'_>, _: &[u8]) -> SimpleVob {
        self.trie().alloc_token_set()
    }

    fn trie(&self) -> &TokTrie {
        self.0.tok_trie()
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

#[cfg(test)]
mod tests {
    use kernels::math::philox;

    use super::*;
    use crate::constraint::Grammar;
    use crate::constraint::tests::DEMO;

    /// The beginning of an answer that may grow by so many bytes. Its lexer's states tell so many letters apart.
    fn start(letters: usize, growth: usize) -> Place {
        let form = Grammar::Regex(format!("([a-d]*a[a-d]{{{letters}}}e)*"));
        let start = form.parser(|grammar| DEMO.parser(grammar)).unwrap();
        let size = Size { compiled: 0, answer: 0, growth };
        Place::start(&Arc::new(Shared { start, end_tokens: DEMO.end_tokens.clone(), size }))
    }

    /// A text of so many letters, which comes again after `period` of them.
    fn text(length: u32, period: u32) -> impl Iterator<Item = u32> {
        let letters = ["a", "b", "c", "d"].map(|letter| DEMO.tokenizer.id_of(letter).unwrap());
        (0..length).map(move |position| letters[philox(3, [position % period, 0, 0, 0])[0] as usize % 4])
    }

    /// Growth of an answer that is asked for no masks.
    fn least_growth(letters: usize, text: impl Iterator<Item = u32>) -> usize {
        let mut place = start(letters, usize::MAX);
        let refill = Refill(place.parser.token_env.clone());
        for token in text {
            place.refuel(&refill);
            place.read(token).unwrap();
        }
        place.growth()
    }

    /// How many times an answer forgets what its lexer has learned.
    fn times_forgotten(letters: usize, growth: usize, text: impl Iterator<Item = u32>) -> usize {
        let mut place = start(letters, growth);
        let forgets = |token| {
            place.parser.compute_mask().unwrap();
            let grown = place.growth();
            place.write_allowed(&mut Vec::new()).unwrap();
            let forgets = place.growth() < grown;
            place.advance(token).unwrap();
            forgets
        };
        text.map(forgets).filter(|&forgets| forgets).count()
    }

    #[test]
    fn a_long_answer_that_meets_new_states_all_along_goes_on_after_it_has_forgotten_them() {
        let text = || text(3500, u32::MAX);
        let times = times_forgotten(200, least_growth(200, text()) * 3 / 2, text());
        assert!((3..30).contains(&times), "{times} times");
    }

    #[test]
    fn an_answer_that_needs_nearly_what_it_may_take_does_not_forget_at_every_token() {
        let text = || text(4000, 2000);
        let times = times_forgotten(13, least_growth(13, text()) + 1000, text());
        assert!((3..100).contains(&times), "{times} times");
    }
}
