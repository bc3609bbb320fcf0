//! The rule over what a draw may choose: edits of logits, a mask of allowed ids, banned ids.
//!
//! Built by the code that plans a step. Backends apply it to logits before anything else, as defined here.

use std::ops::Range;

use bytemuck::NoUninit;

/// Ids that may be chosen: id `i` is bit `i % 32` of word `i / 32`, as llguidance writes masks. Ids beyond the last
/// word may not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenMask<'a> {
    /// Bits, the lowest id in the lowest bit of the first word.
    pub words: &'a [u32],
}

impl TokenMask<'_> {
    /// Ids that one word holds.
    pub const WORD_IDS: usize = u32::BITS as usize;

    /// Whether an id may be chosen.
    pub fn allows(&self, id: u32) -> bool {
        let word = self.words.get(id as usize / Self::WORD_IDS).copied().unwrap_or(0);
        word >> (id % u32::BITS) & 1 == 1
    }
}

/// A change of one id's logit: the penalty first, then the bias.
#[derive(Debug, Clone, Copy, PartialEq, NoUninit)]
#[repr(C)]
pub struct LogitEdit {
    /// Whose logit it is.
    pub id: u32,
    /// The repetition penalty of Keskar et al., "CTRL", as transformers defines it: a positive logit is divided by it,
    /// any other multiplied. Greater than 0 and finite; 1 changes nothing.
    pub penalty: f32,
    /// Added to the logit; finite.
    pub bias: f32,
}

impl LogitEdit {
    /// Only adds to the logit.
    pub const fn bias(id: u32, bias: f32) -> Self {
        Self { id, penalty: 1.0, bias }
    }

    /// Only penalises the logit.
    pub const fn penalty(id: u32, penalty: f32) -> Self {
        Self { id, penalty, bias: 0.0 }
    }

    /// The logit that takes the place of `logit`.
    pub fn apply(&self, logit: f32) -> f32 {
        self.penalised(logit) + self.bias
    }

    /// The logit that takes the place of `logit` in beam search: the penalty acts on the log-probability
    /// `logit - log_sum`, as in transformers.
    pub fn apply_to_log_prob(&self, logit: f32, log_sum: f64) -> f32 {
        if self.penalty == 1.0 {
            return self.apply(logit);
        }
        let log_prob = (f64::from(logit) - log_sum) as f32;
        (f64::from(self.penalised(log_prob)) + log_sum) as f32 + self.bias
    }

    /// Whether the edit raises no logit.
    pub const fn only_lowers(&self) -> bool {
        self.penalty >= 1.0 && self.bias <= 0.0
    }

    fn penalised(&self, logit: f32) -> f32 {
        if logit > 0.0 { logit / self.penalty } else { logit * self.penalty }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.penalty > 0.0 && self.penalty.is_finite() && self.bias.is_finite()
    }
}

/// Rule over what a draw may choose. Edits are applied first; then the logits of ids that the mask does not allow, and
/// of banned ids, become minus infinity. Ids beyond the vocabulary are ignored. A logit that is not a number stays so.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DrawRule<'a> {
    /// Ids that may be chosen; absent: all.
    pub mask: Option<TokenMask<'a>>,
    /// Edits by ascending id, at most one for each.
    pub edits: &'a [LogitEdit],
    /// Ids that may not be chosen, ascending.
    pub banned: &'a [u32],
}

impl<'a> DrawRule<'a> {
    /// Bans ids, which ascend, and nothing else.
    pub const fn ban(banned: &'a [u32]) -> Self {
        Self { mask: None, edits: &[], banned }
    }

    /// Whether every id may be chosen, by its own logit.
    pub const fn is_free(&self) -> bool {
        self.mask.is_none() && self.edits.is_empty() && self.banned.is_empty()
    }

    /// Whether an id may be chosen.
    pub fn allows(&self, id: u32) -> bool {
        self.mask.is_none_or(|mask| mask.allows(id)) && self.banned.binary_search(&id).is_err()
    }

    /// Whether any id below `vocabulary` may be chosen.
    pub fn leaves_any(&self, vocabulary: u32) -> bool {
        let is_open = |word: &u32| match self.mask {
            Some(mask) => mask.words.get(*word as usize).is_some_and(|&bits| bits != 0),
            None => true,
        };
        let ids = |word: u32| word * u32::BITS..vocabulary.min((word + 1) * u32::BITS);
        (0..vocabulary.div_ceil(u32::BITS)).filter(is_open).flat_map(ids).any(|id| self.allows(id))
    }

    /// The logit of one id under the rule.
    pub fn logit(&self, id: u32, logit: f32) -> f32 {
        if logit.is_nan() {
            logit
        } else if !self.allows(id) {
            f32::NEG_INFINITY
        } else {
            let edit = self.edits.binary_search_by_key(&id, |edit| edit.id);
            edit.map_or(logit, |found| self.edits[found].apply(logit))
        }
    }

    /// Applies the rule to a whole row in place; each logit becomes its [`Self::logit`].
    pub fn apply(&self, logits: &mut [f32]) {
        self.apply_with(logits, LogitEdit::apply);
    }

    /// Applies the rule to the logits of successive ids from `first` on, a multiple of [`TokenMask::WORD_IDS`].
    pub fn apply_from(&self, first: u32, logits: &mut [f32]) {
        let end = first as usize + logits.len();
        let (first_word, words) = (first as usize / TokenMask::WORD_IDS, end.div_ceil(TokenMask::WORD_IDS));
        for edit in within(self.edits, first..end as u32, |edit| edit.id) {
            let logit = &mut logits[(edit.id - first) as usize];
            *logit = edit.apply(*logit);
        }
        if let Some(mask) = self.mask {
            let words = (first_word..words).map(|word| mask.words.get(word).copied().unwrap_or(0));
            refuse_by_words(logits, words);
        }
        for id in within(self.banned, first..end as u32, |id| *id) {
            refuse(&mut logits[(id - first) as usize]);
        }
    }

    /// Applies the rule to a whole row in place, with penalties on log-probabilities
    /// ([`LogitEdit::apply_to_log_prob`]).
    pub fn apply_to_log_probs(&self, logits: &mut [f32], log_sum: f64) {
        self.apply_with(logits, |edit, logit| edit.apply_to_log_prob(logit, log_sum));
    }

    fn apply_with(&self, logits: &mut [f32], edited: impl Fn(&LogitEdit, f32) -> f32) {
        for edit in self.edits {
            if let Some(logit) = logits.get_mut(edit.id as usize) {
                *logit = edited(edit, *logit);
            }
        }
        if let Some(mask) = self.mask {
            refuse_by_words(logits, mask.words.iter().copied().chain(std::iter::repeat(0)));
        }
        for &id in self.banned {
            logits.get_mut(id as usize).into_iter().for_each(refuse);
        }
    }
}

/// The part of an ascending list whose ids lie in a range.
fn within<T>(list: &[T], ids: Range<u32>, id: impl Fn(&T) -> u32) -> &[T] {
    &list[list.partition_point(|entry| id(entry) < ids.start)..list.partition_point(|entry| id(entry) < ids.end)]
}

/// Refuses the ids whose bits are not set.
fn refuse_by_words(logits: &mut [f32], words: impl Iterator<Item = u32>) {
    for (logits, word) in logits.chunks_mut(TokenMask::WORD_IDS).zip(words).filter(|(_, word)| *word != !0) {
        let refused = logits.iter_mut().enumerate().filter(|(bit, _)| word >> bit & 1 == 0);
        refused.for_each(|(_, logit)| refuse(logit));
    }
}

fn refuse(logit: &mut f32) {
    if !logit.is_nan() {
        *logit = f32::NEG_INFINITY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_leaves_ids_only_below_the_vocabulary() {
        let masked = |words, banned| DrawRule { mask: Some(TokenMask { words }), ..DrawRule::ban(banned) };
        assert!(DrawRule::default().leaves_any(1) && !DrawRule::default().leaves_any(0));
        assert!(DrawRule::ban(&[0, 1]).leaves_any(3) && !DrawRule::ban(&[0, 1, 2]).leaves_any(3));
        assert!(masked(&[0, 0b110], &[33]).leaves_any(35) && !masked(&[0, 0b110], &[33, 34]).leaves_any(40));
        assert!(!masked(&[0, 0b110], &[]).leaves_any(33) && !masked(&[], &[]).leaves_any(99));
    }

    #[test]
    fn edits_come_before_the_mask_and_bans() {
        let edits = [LogitEdit::bias(0, 5.0), LogitEdit { id: 1, penalty: 2.0, bias: 0.5 }, LogitEdit::penalty(3, 4.0)];
        let rule = DrawRule { mask: Some(TokenMask { words: &[0b11110] }), edits: &edits, banned: &[4, 900] };
        let mut logits = [1.0, 3.0, -1.0, -0.5, 7.0, 2.0];
        let one_by_one: Vec<f32> = (0..).zip(logits).map(|(id, logit)| rule.logit(id, logit)).collect();
        rule.apply(&mut logits);
        let lowest = f32::NEG_INFINITY;
        assert_eq!(logits, [lowest, 2.0, -1.0, -2.0, lowest, lowest]);
        assert_eq!(one_by_one, logits);
    }

    #[test]
    fn a_rule_applies_to_a_stretch_of_ids_as_to_the_whole_row() {
        let edits = [LogitEdit::bias(2, 5.0), LogitEdit::penalty(33, 2.0), LogitEdit::bias(70, 1.0)];
        let words = [0x0f0f_0f0f, !4, 7];
        let rule = DrawRule { mask: Some(TokenMask { words: &words }), edits: &edits, banned: &[1, 40, 65, 900] };
        let mut whole: Vec<f32> = (0..150).map(|id| id as f32 - 50.0).collect();
        let mut stretches = whole.clone();
        rule.apply(&mut whole);
        for (first, stretch) in (0..).step_by(64).zip(stretches.chunks_mut(64)) {
            rule.apply_from(first, stretch);
        }
        assert_eq!(whole, stretches);
    }

    #[test]
    fn ids_beyond_the_words_of_a_mask_are_refused() {
        let mask = TokenMask { words: &[!0] };
        let mut logits = [1.0; 70];
        DrawRule { mask: Some(mask), ..DrawRule::default() }.apply(&mut logits);
        assert!(logits[..32].iter().all(|&logit| logit == 1.0));
        assert!(logits[32..].iter().all(|&logit| logit == f32::NEG_INFINITY));
        assert!(mask.allows(31) && !mask.allows(32));
    }

    #[test]
    fn a_refused_logit_that_is_not_a_number_stays_so() {
        let rule = DrawRule { mask: Some(TokenMask { words: &[0] }), ..DrawRule::ban(&[0]) };
        let mut logits = [f32::NAN, 1.0];
        rule.apply(&mut logits);
        assert!(logits[0].is_nan() && logits[1] == f32::NEG_INFINITY && rule.logit(0, f32::NAN).is_nan());
    }

    #[test]
    fn a_penalty_acts_on_the_logit_or_on_the_log_probability() {
        let edit = LogitEdit { id: 0, penalty: 2.0, bias: 0.25 };
        assert_eq!([edit.apply(3.0), edit.apply(-3.0)], [1.75, -5.75]);
        // Of log-probability -1: -2 after the penalty.
        assert_eq!(edit.apply_to_log_prob(3.0, 4.0), 2.25);
        assert_eq!(LogitEdit::bias(0, 0.5).apply_to_log_prob(3.3, 4.1), 3.8);
    }
}
