//! Rules of one step, in flat lists.
//!
//! Filled by the code that plans a step; read by the backends, which may copy the lists as they are.

use std::ops::Range;

use super::rule::{DrawRule, LogitEdit, TokenMask};

/// A rule of a [`DrawRules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId(u32);

impl RuleId {
    /// Its place in the order in which rules were added.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Rules of one step, in flat lists that keep their room when they are emptied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DrawRules {
    spans: Vec<RuleSpan>,
    mask_words: Vec<u32>,
    edits: Vec<LogitEdit>,
    banned: Vec<u32>,
}

/// Where a rule's parts lie in the lists of all rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RuleSpan {
    pub mask: Option<Range<usize>>,
    pub edits: Range<usize>,
    pub banned: Range<usize>,
}

impl DrawRules {
    /// No rules.
    pub const fn new() -> Self {
        Self { spans: Vec::new(), mask_words: Vec::new(), edits: Vec::new(), banned: Vec::new() }
    }

    /// Removes all rules and keeps the room.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.mask_words.clear();
        self.edits.clear();
        self.banned.clear();
    }

    /// Adds a rule.
    ///
    /// # Panics
    /// When edits or banned ids do not ascend, or an edit holds a number that is out of range.
    pub fn add(&mut self, rule: DrawRule<'_>) -> RuleId {
        assert!(rule.edits.is_sorted_by(|a, b| a.id < b.id), "edits of a rule ascend by id");
        assert!(rule.banned.is_sorted(), "banned ids of a rule ascend");
        assert!(rule.edits.iter().all(LogitEdit::is_valid), "edits are finite, and penalties above 0");
        let id = RuleId(u32::try_from(self.spans.len()).expect("rules are counted in 32 bits"));
        self.spans.push(RuleSpan {
            mask: rule.mask.map(|mask| append(&mut self.mask_words, mask.words)),
            edits: append(&mut self.edits, rule.edits),
            banned: append(&mut self.banned, rule.banned),
        });
        id
    }

    /// Leaves of the ids that a rule allows those that the mask allows too.
    ///
    /// # Panics
    /// When the id is another list's and this one has fewer rules.
    pub fn narrow(&mut self, id: RuleId, mask: TokenMask<'_>) {
        let Self { spans, mask_words, .. } = self;
        let span = &mut spans[id.index()].mask;
        match span {
            None => *span = Some(append(mask_words, mask.words)),
            Some(span) => {
                let words = mask.words.iter().copied().chain(std::iter::repeat(0));
                mask_words[span.clone()].iter_mut().zip(words).for_each(|(own, word)| *own &= word);
            }
        }
    }

    /// The rule of that id; the free rule where there is none.
    ///
    /// # Panics
    /// When the id is another list's and this one has fewer rules.
    pub fn of(&self, id: Option<RuleId>) -> DrawRule<'_> {
        let Some(id) = id else { return DrawRule::default() };
        let RuleSpan { mask, edits, banned } = &self.spans[id.index()];
        DrawRule {
            mask: mask.clone().map(|mask| TokenMask { words: &self.mask_words[mask] }),
            edits: &self.edits[edits.clone()],
            banned: &self.banned[banned.clone()],
        }
    }

    /// Room of the lists of rules, mask words, edits and banned ids, in entries. A step that fits allocates nothing.
    pub const fn capacities(&self) -> [usize; 4] {
        [self.spans.capacity(), self.mask_words.capacity(), self.edits.capacity(), self.banned.capacity()]
    }

    /// Where the parts of each rule lie in the lists, in the order of ids.
    pub(crate) fn spans(&self) -> &[RuleSpan] {
        &self.spans
    }

    /// Words of all masks.
    pub(crate) fn mask_words(&self) -> &[u32] {
        &self.mask_words
    }

    /// Edits of all rules.
    pub(crate) fn edits(&self) -> &[LogitEdit] {
        &self.edits
    }

    /// Banned ids of all rules.
    pub(crate) fn banned(&self) -> &[u32] {
        &self.banned
    }

    /// Bytes of all lists.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.mask_words.len() + self.banned.len()) + size_of_val(self.edits.as_slice())
    }
}

fn append<T: Copy>(list: &mut Vec<T>, more: &[T]) -> Range<usize> {
    let first = list.len();
    list.extend_from_slice(more);
    first..list.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_back_as_they_were_added_and_room_is_kept() {
        let edits = [LogitEdit::bias(2, 1.0)];
        let first = DrawRule { mask: Some(TokenMask { words: &[7, 8] }), edits: &edits, banned: &[] };
        let second = DrawRule::ban(&[1, 3]);
        let mut rules = DrawRules::default();
        for _ in 0..2 {
            rules.clear();
            let ids = [first, second].map(|rule| rules.add(rule));
            assert_eq!(ids.map(|id| rules.of(Some(id))), [first, second]);
            assert!(rules.of(None).is_free());
        }
    }

    #[test]
    fn a_rule_is_narrowed_to_what_it_and_a_mask_allow() {
        let mut rules = DrawRules::default();
        let free = rules.add(DrawRule::ban(&[3]));
        let masked = rules.add(DrawRule { mask: Some(TokenMask { words: &[0b0110, 1] }), ..DrawRule::default() });
        for rule in [free, masked] {
            rules.narrow(rule, TokenMask { words: &[0b1100] });
        }
        let allowed = |rule| (0..64).filter(|&id| rules.of(Some(rule)).allows(id)).collect::<Vec<u32>>();
        assert_eq!((allowed(free), allowed(masked)), (vec![2], vec![2]));
    }

    #[test]
    #[should_panic(expected = "ascend")]
    fn edits_that_do_not_ascend_are_refused() {
        let edits = [LogitEdit::bias(2, 1.0), LogitEdit::bias(2, 2.0)];
        DrawRules::default().add(DrawRule { edits: &edits, ..DrawRule::default() });
    }
}
