//! The part of a target that rules need: how often each id came, and where n-grams came before.
//!
//! Kept by every line of tokens whose controls need it and read on token by token, so that no step looks at all tokens
//! again. Choices of a request, and lines that fork, share what was read before they part. Takes memory in proportion
//! to the tokens.

use std::sync::Arc;

use super::ngrams::Ngrams;
use crate::request::Controls;

/// The tokens of a target so far.
#[derive(Debug, Clone, Copy)]
pub struct TargetTokens<'a> {
    /// The decoder's first token.
    pub start: u32,
    /// The decoder prompt.
    pub prompt: &'a [u32],
    /// The tokens after it.
    pub generated: &'a [u32],
}

impl TargetTokens<'_> {
    /// Number of tokens, the start token included.
    pub const fn len(&self) -> usize {
        1 + self.prompt.len() + self.generated.len()
    }

    /// The token at a position before [`Self::len`].
    pub fn at(&self, position: usize) -> u32 {
        match position.checked_sub(1) {
            None => self.start,
            Some(index) if index < self.prompt.len() => self.prompt[index],
            Some(index) => self.generated[index - self.prompt.len()],
        }
    }

    /// Whether the tokens after the start token end with these.
    pub fn ends_with(&self, ids: &[u32]) -> bool {
        ids.len() < self.len() && (self.len() - ids.len()..).zip(ids).all(|(position, &id)| self.at(position) == id)
    }
}

/// An id of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenToken {
    /// The id.
    pub id: u32,
    /// How many times it was generated; 0 for an id of the beginning only.
    pub generated: u32,
}

/// Facts that were read of a target's tokens.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Number of tokens that were read.
    read: usize,
    /// Ids of the target, ascending; copied by the first of several lines that reads on.
    seen: Arc<Vec<SeenToken>>,
    /// Present where runs of tokens matter, once a token was read.
    ngrams: Option<Ngrams>,
}

impl History {
    /// Whether nothing was read.
    pub const fn is_new(&self) -> bool {
        self.read == 0
    }

    /// Reads the tokens that came since the last call. The tokens that were read before are still there.
    pub fn read_on(&mut self, target: TargetTokens<'_>, controls: &Controls) {
        for position in self.read..target.len() {
            if controls.count_tokens() {
                self.count(target.at(position), position > target.prompt.len());
            }
            if controls.no_repeat_ngram > 1 {
                let run = controls.no_repeat_ngram as usize - 1;
                self.ngrams.get_or_insert_with(|| Ngrams::new(run)).read(target, position);
            }
        }
        self.read = target.len();
    }

    /// Ids of the target, ascending.
    pub fn seen(&self) -> &[SeenToken] {
        &self.seen
    }

    /// Appends the ids with which an n-gram would come again, each at least once.
    pub fn repeating(&self, controls: &Controls, out: &mut Vec<u32>) {
        if controls.no_repeat_ngram == 1 {
            out.extend(self.seen.iter().map(|seen| seen.id));
        } else if let Some(ngrams) = &self.ngrams {
            ngrams.followers(out);
        }
    }

    fn count(&mut self, id: u32, was_generated: bool) {
        let seen = Arc::make_mut(&mut self.seen);
        let place = seen.binary_search_by_key(&id, |seen| seen.id).unwrap_or_else(|place| {
            seen.insert(place, SeenToken { id, generated: 0 });
            place
        });
        seen[place].generated += u32::from(was_generated);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(prompt: &'a [u32], generated: &'a [u32]) -> TargetTokens<'a> {
        TargetTokens { start: 0, prompt, generated }
    }

    #[test]
    fn tokens_are_counted_once_however_often_the_target_is_read() {
        let controls = Controls { presence_penalty: 1.0, ..Controls::default() };
        let mut history = History::default();
        for generated in [&[][..], &[5], &[5, 3], &[5, 3], &[5, 3, 5, 9]] {
            history.read_on(target(&[9, 5], generated), &controls);
        }
        let seen = [(0, 0), (3, 1), (5, 2), (9, 1)].map(|(id, generated)| SeenToken { id, generated });
        assert_eq!(history.seen(), seen);
    }

    #[test]
    fn an_n_gram_is_found_wherever_it_came_before_the_start_token_included() {
        let followers = |length: u32, prompt: &[u32], generated: &[u32]| {
            let controls = Controls { no_repeat_ngram: length, ..Controls::default() };
            let mut history = History::default();
            history.read_on(target(prompt, generated), &controls);
            let mut found = Vec::new();
            history.repeating(&controls, &mut found);
            found.sort_unstable();
            found
        };
        assert_eq!(followers(2, &[7, 8], &[7]), [8]);
        assert_eq!(followers(2, &[], &[7, 0]), [7]);
        assert_eq!(followers(3, &[7, 8, 9], &[7, 8, 4, 7, 8]), [4, 9]);
        assert!(followers(3, &[7, 8], &[8]).is_empty());
        assert_eq!(followers(1, &[7], &[8]), [0, 7, 8]);
        assert!(followers(9, &[7, 8], &[]).is_empty());
    }

    #[test]
    fn only_tokens_after_the_start_token_end_with_a_word() {
        let target = target(&[4, 5], &[6]);
        assert!(target.ends_with(&[5, 6]) && target.ends_with(&[4, 5, 6]));
        assert!(!target.ends_with(&[0, 4, 5, 6]) && !target.ends_with(&[4, 6]));
    }
}
