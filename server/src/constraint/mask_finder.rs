//! Finds the tokens that a grammar allows: runs of characters all at once where it allows any, others byte by byte.
//!
//! One for a vocabulary, shared by all parsers of its grammars. The library's own way has a tree of tokens for each
//! slice of the vocabulary, and walks several of them to their depths wherever a string has a bounded length.

use llguidance::earley::{BiasComputer, ParserRecognizer};
use llguidance::toktrie::{SimpleVob, TokEnv, TokTrie};

use super::reach::{LEVELS, Reach};
use super::runs::{KINDS, LONGEST, Run};
use super::token_tree::TokenTree;

/// Tokens of a vocabulary from which on a search for runs takes less time than a walk over all of them.
const MANY_TOKENS: usize = 32 << 10;

/// See the head of this file.
pub struct MaskFinder {
    env: TokEnv,
    tree: TokenTree,
    /// For each kind, masks of its runs, and of those of the kinds before it: of at most 1, 2, ... [`LEVELS`]
    /// characters, and of any number.
    runs: [Vec<SimpleVob>; KINDS],
    searches: bool,
}

impl MaskFinder {
    /// A finder of the tokens of an environment.
    pub fn new(env: TokEnv) -> Self {
        let trie = env.tok_trie();
        let tokens: Vec<&[u8]> = (0..trie.vocab_size() as u32).map(|id| trie.token(id)).collect();
        let all: Vec<Option<Run>> = tokens.iter().map(|token| Run::of(token)).collect();
        let mask = |kind: usize, length: u8| {
            let mut mask = trie.alloc_token_set();
            let is_in = |run: &Option<Run>| run.is_some_and(|run| run.kind <= kind && run.length <= length);
            (0..).zip(&all).filter(|(_, run)| is_in(run)).for_each(|(id, _)| mask.allow_token(id));
            mask
        };
        let lengths = || (1..=LEVELS).chain([LONGEST]);
        let runs = std::array::from_fn(|kind| lengths().map(|length| mask(kind, length)).collect());
        Self { runs, tree: TokenTree::new(&tokens), searches: tokens.len() >= MANY_TOKENS, env }
    }

    /// Searches for runs although there are few tokens.
    #[cfg(test)]
    pub fn searching(self) -> Self {
        Self { searches: true, ..self }
    }

    /// The runs that are known to be allowed, if there are any.
    fn runs(&self, known: Reach) -> Option<&SimpleVob> {
        let index = usize::from(known.length.min(LEVELS + 1)).checked_sub(1)?;
        self.runs[known.kind].get(index)
    }
}

impl BiasComputer for MaskFinder {
    fn compute_bias(&self, parser: &mut ParserRecognizer<'_>, start: &[u8]) -> SimpleVob {
        let mut allowed = self.trie().alloc_token_set();
        if start.is_empty() {
            let known = if self.searches { Reach::of(parser) } else { Reach::UNKNOWN };
            self.runs(known).into_iter().for_each(|runs| allowed.or(runs));
            self.tree.add_allowed(parser, known, &mut allowed);
        } else {
            self.trie().add_bias(parser, &mut allowed, start);
        }
        allowed
    }

    fn trie(&self) -> &TokTrie {
        self.env.tok_trie()
    }
}
