//! The tokens of a target as the bytes that they write, in the form that grammars read.
//!
//! Made once for a model, when the first request with a grammar comes: a tree of 256,000 tokens takes a moment.

use std::fmt;
use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::BiasComputer;
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{ParserFactory, TokenParser};
use model::Tokenizer;

use super::mask_finder::MaskFinder;

/// Limits of a grammar's work. A state of the lexer takes 1 to 2 kB, fuel is spent at 50,000 a millisecond at the start
/// and 14,000 a millisecond in a step, and 20,000 items take a millisecond.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2000,
    initial_lexer_fuel: 1_000_000,
    step_lexer_fuel: 200_000,
    step_max_items: 50_000,
    max_lexer_states: LEXER_STATES.most,
    max_grammar_size: 100_000,
    precompute_large_lexemes: false,
    verbose_errors: false,
};

/// States of a lexer.
pub(super) struct LexerStates {
    /// Most that an answer may need for its text alone, which leaves others room for masks.
    pub needed: usize,
    /// Most that a lexer has.
    pub most: usize,
}

/// Bounds on the states of a lexer.
pub(super) const LEXER_STATES: LexerStates = LexerStates { needed: 10_000, most: 12_500 };

/// Bytes that an answer may take beyond those of its beginning, as in `config.toml`.
const GROWTH: usize = 8 << 20;

/// The tokens that a model writes, for grammars.
pub struct Vocabulary {
    /// Compiles grammars over the tokens. Its parsers find masks in a way that is correct, and slow.
    pub(super) factory: ParserFactory,
    finder: Arc<dyn BiasComputer>,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) end_tokens: Vec<u32>,
    /// Bytes that an answer may take beyond those of its beginning.
    pub(super) growth: usize,
    size: usize,
}

impl Vocabulary {
    /// The first `size` ids of a tokenizer, of which the end tokens end an answer.
    ///
    /// # Panics
    /// Without an end token, or with one beyond `size`.
    pub fn new(tokenizer: &Arc<Tokenizer>, size: usize, end_tokens: &[u32]) -> Self {
        let count = u32::try_from(size).expect("ids have 32 bits");
        let pieces: Vec<Vec<u8>> = (0..count).map(|id| written(tokenizer, id)).collect();
        let first_end = *end_tokens.first().expect("a target has an end token");
        let trie = TokTrie::from(&TokRxInfo::new(count, first_end), &pieces).with_eos_tokens(end_tokens);
        let env: TokEnv = Arc::new(Tokens { trie, tokenizer: Arc::clone(tokenizer) });
        let (factory, finder) = (factory(&env), Arc::new(MaskFinder::new(env)));
        let (tokenizer, end_tokens) = (Arc::clone(tokenizer), end_tokens.to_vec());
        Self { factory, finder, tokenizer, end_tokens, growth: GROWTH, size }
    }

    /// With another bound on the bytes that an answer under a grammar may take beyond those of its beginning.
    #[must_use]
    pub fn with_growth(self, growth: usize) -> Self {
        Self { growth, ..self }
    }

    /// A parser of a grammar over the tokens.
    ///
    /// # Errors
    /// With llguidance's reason.
    pub(super) fn parser(&self, grammar: TopLevelGrammar) -> Result<TokenParser, String> {
        let mut parser = self.factory.create_parser(grammar).map_err(|error| error.to_string())?;
        parser.bias_computer = Arc::clone(&self.finder);
        Ok(parser)
    }

    /// Whether a token ends an answer.
    pub fn ends(&self, token: u32) -> bool {
        self.end_tokens.contains(&token)
    }

    /// Number of ids.
    pub const fn size(&self) -> usize {
        self.size
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vocabulary").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Compiles grammars over the tokens of an environment, within our limits.
pub(super) fn factory(env: &TokEnv) -> ParserFactory {
    let mut factory = ParserFactory::new(env, Default::default(), &[]).expect("there are no slices to compile");
    *factory.limits_mut() = LIMITS;
    factory.quiet();
    factory
}

/// The bytes that an id writes. Special tokens are no text: a mark that no text has stands before their names. An id
/// without a piece writes nothing, and no grammar allows it.
fn written(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let mark: &[u8] = if tokenizer.is_special(id) { &[TokTrie::SPECIAL_TOKEN_MARKER] } else { &[] };
    [mark, tokenizer.piece_bytes(id).unwrap_or_default()].concat()
}

/// The tokens as llguidance asks for them.
struct Tokens {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    /// The ids that the tokenizer gives to a text. Where these would not write the same bytes, as where the text has
    /// the name of a special token, the longest pieces are taken one after the other.
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        let ids = std::str::from_utf8(bytes).ok().and_then(|text| self.tokenizer.encode(text).ok());
        let same = ids.filter(|ids| {
            let known = ids.iter().all(|&id| (id as usize) < self.trie.vocab_size());
            known && self.trie.decode_raw(ids) == bytes
        });
        same.unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }
}
