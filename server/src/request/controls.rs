//! Controls: what a request asks of every draw beyond sampling.
//!
//! Plain data, made by `api` and shared by all choices of all prompts of a call; `scheduler` makes rules of it. Ids
//! were checked against the vocabulary, numbers against their ranges.

/// A number that is added to the logit of one id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenBias {
    /// Whose logit it is.
    pub id: u32,
    /// Finite.
    pub bias: f32,
}

/// A set of ids, one bit for each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenSet {
    words: Vec<u32>,
}

impl TokenSet {
    /// The bits of ids, the lowest id in the lowest bit of the first word. Ids beyond the last word are not in the set.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        (0..)
            .step_by(32)
            .zip(&self.words)
            .flat_map(|(first, &word)| (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first + bit))
    }

    /// Whether an id is in the set.
    pub fn contains(&self, id: u32) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }
}

impl FromIterator<u32> for TokenSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut words = Vec::new();
        for id in ids {
            let word = id as usize / 32;
            words.resize(words.len().max(word + 1), 0);
            words[word] |= 1 << (id % 32);
        }
        Self { words }
    }
}

/// Controls of a request. Penalties and biases change logits first, the penalty before the bias; then ids that may not
/// be chosen leave.
#[derive(Debug, Clone, PartialEq)]
pub struct Controls {
    /// Divides positive logits of the ids in the target, and multiplies the others: start token, decoder prompt and
    /// generated tokens (Keskar et al., "CTRL", as in transformers). Greater than 0; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Subtracted from the logit of each id that was generated, as OpenAI defines it.
    pub presence_penalty: f32,
    /// Subtracted from the logit of an id once for each time that it was generated, as OpenAI defines it.
    pub frequency_penalty: f32,
    /// Length of the n-grams that come at most once in a target, the start token included; 0 for none.
    pub no_repeat_ngram: u32,
    /// Biases by ascending id, at most one for each.
    pub biases: Vec<TokenBias>,
    /// Ids that may be chosen; absent: all.
    pub allowed: Option<TokenSet>,
    /// Ids that may not be chosen, ascending.
    pub banned: Vec<u32>,
    /// Ids that may not be the first one that is chosen freely, ascending.
    pub banned_first: Vec<u32>,
    /// Runs of at least two ids that do not come about after the start token: the last id is not chosen after the
    /// others.
    pub bad_words: Vec<Vec<u32>>,
    /// The only id that the first token may be where there is no decoder prompt.
    pub forced_first: Option<u32>,
    /// The only ids that the last of `max_tokens` tokens may be; empty: no such rule.
    pub forced_last: Vec<u32>,
    /// Ids that end a choice beside the model's end tokens, whether or not those do.
    pub stop_tokens: Vec<u32>,
}

impl Default for Controls {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            no_repeat_ngram: 0,
            biases: Vec::new(),
            allowed: None,
            banned: Vec::new(),
            banned_first: Vec::new(),
            bad_words: Vec::new(),
            forced_first: None,
            forced_last: Vec::new(),
            stop_tokens: Vec::new(),
        }
    }
}

impl Controls {
    /// Puts all lists into the order that the fields' documentation promises. Bad words of one id are banned; of
    /// several biases of an id, the first stays.
    pub fn in_order(mut self) -> Self {
        let (single, words) = std::mem::take(&mut self.bad_words).into_iter().partition(|word| word.len() < 2);
        self.bad_words = words;
        let single: Vec<Vec<u32>> = single;
        self.banned.extend(single.into_iter().flatten());
        self.banned.sort_unstable();
        self.banned.dedup();
        self.banned_first.sort_unstable();
        self.banned_first.dedup();
        self.biases.sort_by_key(|bias| bias.id);
        self.biases.dedup_by_key(|bias| bias.id);
        // Words by the id that the last one must not follow, so that a rule finds them there.
        self.bad_words.sort_unstable_by(|a, b| Self::before_last(a).cmp(&Self::before_last(b)).then_with(|| a.cmp(b)));
        self.bad_words.dedup();
        self
    }

    /// Bad words whose last id would follow `id`, if the lists are in order.
    pub fn bad_words_after(&self, id: u32) -> &[Vec<u32>] {
        let first = self.bad_words.partition_point(|word| Self::before_last(word) < Some(id));
        let count = self.bad_words[first..].partition_point(|word| Self::before_last(word) == Some(id));
        &self.bad_words[first..first + count]
    }

    /// Whether what may be drawn depends on the tokens before it, so that these must be known.
    pub const fn follow_tokens(&self) -> bool {
        self.count_tokens() || self.no_repeat_ngram > 1 || !self.bad_words.is_empty()
    }

    /// Whether it depends on which ids the target has, and how often.
    pub const fn count_tokens(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
            || self.no_repeat_ngram == 1
    }

    /// Whether any id may be refused, beside end tokens before `min_tokens`.
    pub const fn refuse_ids(&self) -> bool {
        let bans = !self.banned.is_empty() || !self.banned_first.is_empty() || !self.bad_words.is_empty();
        self.allowed.is_some() || bans || self.no_repeat_ngram > 0
    }

    /// Whether no edit makes a log-probability greater than 0: a longer text is then never more probable.
    pub fn only_lower(&self) -> bool {
        let lowers = |bias: &TokenBias| bias.bias <= 0.0;
        self.presence_penalty >= 0.0 && self.frequency_penalty >= 0.0 && self.biases.iter().all(lowers)
    }

    fn before_last(word: &[u32]) -> Option<u32> {
        word.len().checked_sub(2).map(|index| word[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_put_in_order_and_words_of_one_id_are_banned() {
        let bias = |id, bias| TokenBias { id, bias };
        let controls = Controls {
            biases: vec![bias(7, 1.0), bias(3, 2.0), bias(7, 5.0)],
            banned: vec![9, 2, 9],
            bad_words: vec![vec![5, 6], vec![4], vec![1, 5, 8], vec![3, 1], vec![5, 6]],
            ..Controls::default()
        }
        .in_order();
        assert_eq!(controls.biases, [bias(3, 2.0), bias(7, 1.0)]);
        assert_eq!(controls.banned, [2, 4, 9]);
        assert_eq!(controls.bad_words_after(5), [vec![1, 5, 8], vec![5, 6]]);
        assert_eq!(controls.bad_words_after(3), [vec![3, 1]]);
        assert!(controls.bad_words_after(4).is_empty());
    }

    #[test]
    fn a_set_has_the_ids_that_it_was_made_of() {
        let set: TokenSet = [0, 31, 32, 70].into_iter().collect();
        assert_eq!((0..200).filter(|id| set.contains(*id)).collect::<Vec<_>>(), [0, 31, 32, 70]);
        assert_eq!(set.ids().collect::<Vec<_>>(), [0, 31, 32, 70]);
        assert_eq!(set.words().len(), 3);
    }

    #[test]
    fn a_bias_needs_no_tokens_and_a_penalty_does() {
        let none = Controls::default;
        let biased = Controls { biases: vec![TokenBias { id: 1, bias: 2.0 }], banned: vec![3], ..none() };
        assert!(!none().follow_tokens() && !biased.follow_tokens());
        let following = [
            Controls { repetition_penalty: 1.2, ..none() },
            Controls { presence_penalty: -1.0, ..none() },
            Controls { frequency_penalty: 0.5, ..none() },
            Controls { no_repeat_ngram: 1, ..none() },
            Controls { no_repeat_ngram: 3, ..none() },
            Controls { bad_words: vec![vec![1, 2]], ..none() },
        ];
        assert!(following.iter().all(Controls::follow_tokens));
    }
}
