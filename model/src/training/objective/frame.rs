//! Frames of a source and a target: the tokens around a source, the end token of a target, and where both are cut.
//!
//! Used by `recipe`. A source is framed in training as in serving.

use crate::training::data::Ids;

/// Frame of a source.
#[derive(Debug, Clone)]
pub(super) struct SourceFrame {
    /// Tokens before the source, such as the start token.
    pub before: Vec<u32>,
    /// Tokens after it: those that the tokenizer adds, or the separator of a decoder-only model.
    pub after: Vec<u32>,
    /// Most tokens, including the frame.
    pub max_tokens: usize,
}

/// Frame of a target.
#[derive(Debug, Clone)]
pub(super) struct TargetFrame {
    /// Tokens that end a target. A target without one gets the first.
    pub end: Vec<u32>,
    /// Most tokens, including the end token.
    pub max_tokens: usize,
}

impl SourceFrame {
    /// Number of tokens of a framed source of `len` ids. A source that was written as ids gets no frame, as over HTTP.
    pub fn len_of(&self, len: usize, written_as_ids: bool) -> usize {
        self.whole_len_of(len, written_as_ids).min(self.max_tokens)
    }

    fn whole_len_of(&self, len: usize, written_as_ids: bool) -> usize {
        let around = if written_as_ids { 0 } else { self.before.len() + self.after.len() };
        len + around
    }

    /// Whether a source of `len` ids is cut.
    pub fn cuts(&self, len: usize, written_as_ids: bool) -> bool {
        self.whole_len_of(len, written_as_ids) > self.max_tokens
    }

    /// The framed source. If it is too long, its own end is cut, not the frame.
    pub fn around(&self, ids: impl ExactSizeIterator<Item = u32>, written_as_ids: bool) -> Vec<u32> {
        let len = self.len_of(ids.len(), written_as_ids);
        if written_as_ids {
            return ids.take(len).collect();
        }
        let own = ids.take(len - self.before.len() - self.after.len());
        self.before.iter().copied().chain(own).chain(self.after.iter().copied()).collect()
    }
}

impl TargetFrame {
    /// The token that ends a target.
    pub fn end(&self) -> u32 {
        self.end[0]
    }

    /// Number of tokens of a framed target.
    pub fn len_of(&self, ids: Ids<'_>) -> usize {
        self.own(ids).len() + 1
    }

    /// The target with its end token, which is kept if the rest is cut.
    pub fn ended(&self, ids: Ids<'_>) -> Vec<u32> {
        let last = ids.get(ids.len() - 1);
        let end = if self.end.contains(&last) { last } else { self.end() };
        self.own(ids).iter().chain([end]).collect()
    }

    /// Whether a target is cut.
    pub fn cuts(&self, ids: Ids<'_>) -> bool {
        let ended = ids.len() > 0 && self.end.contains(&ids.get(ids.len() - 1));
        ids.len() - usize::from(ended) > self.own(ids).len()
    }

    fn own<'a>(&self, ids: Ids<'a>) -> Ids<'a> {
        let ended = self.end.contains(&ids.get(ids.len() - 1));
        ids.slice(0..(ids.len() - usize::from(ended)).min(self.max_tokens - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    #[test]
    fn a_source_is_cut_at_its_own_end_and_keeps_what_stands_around() {
        let frame = SourceFrame { before: vec![2], after: vec![8, 9], max_tokens: 6 };
        let framed = |ids: &[u32], as_ids| frame.around(ids.iter().copied(), as_ids);
        assert_eq!(framed(&[11, 12], false), [2, 11, 12, 8, 9]);
        assert_eq!(framed(&[11, 12, 13, 14, 15], false), [2, 11, 12, 13, 8, 9]);
        assert_eq!(framed(&[11, 12], true), [11, 12]);
        assert_eq!(framed(&[11, 12, 13, 14, 15, 16, 17], true), [11, 12, 13, 14, 15, 16]);
        assert_eq!([frame.len_of(2, false), frame.len_of(5, false), frame.len_of(7, true)], [5, 6, 6]);
    }

    #[test]
    fn a_target_ends_once_whatever_is_cut() {
        let frame = TargetFrame { end: vec![1, 107], max_tokens: 4 };
        let ended = |ids: &[u32]| frame.ended(Ids::of_bytes(&bytes(ids)));
        assert_eq!(ended(&[11, 12]), [11, 12, 1]);
        assert_eq!(ended(&[11, 12, 107]), [11, 12, 107]);
        assert_eq!(ended(&[11, 12, 13]), [11, 12, 13, 1]);
        assert_eq!(ended(&[11, 12, 13, 14]), [11, 12, 13, 1]);
        assert_eq!(ended(&[11, 12, 13, 14, 15, 107]), [11, 12, 13, 107]);
        assert_eq!(ended(&[1]), [1]);
    }
}
