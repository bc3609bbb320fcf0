//! The tokens of a target as the bytes that they write, in the form that grammars read.
//!
//! Made once for a model, when the first request with a grammar comes: a tree of 256,000 tokens takes a moment.

use std::fmt;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use model::Tokenizer;

/// Limits of a grammar's work. A state of the lexer takes 1 to 2 kB, fuel is spent at 50,000 a millisecond at the start
/// and 14,000 a millisecond in a step, and 20,000 items take a millisecond.
pub(super) const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2000,
    initial_lexer_fuel: 1_000_000,
    step_lexer_fuel: 200_000,
    step_max_items: 50_000,
    max_lexer_states: 10_000,
    max_grammar_size: 100_000,
    precompute_large_lexemes: false,
    verbose_errors: false,
};

/// The tokens that a model writes, for grammars.
pub struct Vocabulary {
    /// Compiles grammars over the tokens.
    pub(super) factory: ParserFactory,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) end_tokens: Vec<u32>,
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
        let mut factory = ParserFactory::new_simple(&env).expect("slices of the vocabulary are fixed expressions");
        *factory.limits_mut() = LIMITS;
        factory.quiet();
        Self { factory, tokenizer: Arc::clone(tokenizer), end_tokens: end_tokens.to_vec(), size }
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
