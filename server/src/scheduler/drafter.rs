//! Drafts: tokens that probably come next, copied from where the latest tokens came before.
//!
//! Kept by a sequence. The source and the text so far are searched for the longest run of tokens that the target ends
//! with; what followed it there is the draft. Where drafts are wrong, they become shorter and rarer, so that a text
//! that copies nothing soon costs nothing.

use super::history::TargetTokens;

/// Most tokens of a draft.
const LONGEST: usize = 16;
/// Tokens of the first draft, and of those after one that was wrong.
const FIRST: usize = 4;
/// Shortest run that is worth a draft: one token comes again too often.
const SHORTEST_RUN: usize = 2;
/// Runs are compared up to this length; longer ones count as equal.
const LONGEST_RUN: usize = 32;
/// Most steps between two drafts.
const LONGEST_PAUSE: u32 = 64;

/// Makes drafts for one line of tokens.
#[derive(Debug, Clone)]
pub struct Drafter {
    /// The target without its start token, as far as it was read.
    target: Vec<u32>,
    /// Tokens of the next draft.
    length: usize,
    /// Steps until the next draft.
    wait: u32,
    /// Steps between drafts while they are wrong.
    pause: u32,
    /// Where the latest draft was copied from.
    from: Option<Place>,
    /// The place behind a token in place of which another was drawn: the text may go on there all the same.
    behind: Option<Place>,
}

/// A text that is copied.
#[derive(Debug, Clone, Copy)]
enum Text {
    Source,
    Target,
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
struct Place {
    text: Text,
    index: usize,
}

/// A run of tokens that a text has somewhere and the target has at its end.
#[derive(Debug, Clone, Copy)]
struct Run {
    tokens: usize,
    /// Index behind it.
    end: usize,
}

impl Default for Drafter {
    fn default() -> Self {
        Self { target: Vec::new(), length: FIRST, wait: 0, pause: 0, from: None, behind: None }
    }
}

impl Drafter {
    /// A draft of at most `most` tokens after `target`, which has all tokens of the last call and some more. Often
    /// empty.
    pub fn draft(&mut self, source: &[u32], target: TargetTokens<'_>, most: usize) -> Vec<u32> {
        self.target.extend((self.target.len() + 1..target.len()).map(|position| target.at(position)));
        if self.wait > 0 {
            self.wait -= 1;
            return Vec::new();
        }
        let own = longest_run(&self.target, &self.target).map(|run| (run.tokens, Text::Target, run.end));
        let copied = longest_run(source, &self.target).map(|run| (run.tokens, Text::Source, run.end));
        // Of equally long runs, that of the source counts.
        let longest = own.into_iter().chain(copied).max_by_key(|(tokens, ..)| *tokens);
        let found = longest.map(|(_, text, index)| Place { text, index });
        let behind = self.behind.take();
        let Some(place) = found.or(behind) else { return Vec::new() };
        self.from = Some(place);
        let text = match place.text {
            Text::Source => source,
            Text::Target => &self.target,
        };
        text.iter().skip(place.index).take(most.min(self.length)).copied().collect()
    }

    /// Notes how many tokens of the latest draft were right.
    pub fn judge(&mut self, drafted: usize, accepted: usize) {
        if accepted == 0 {
            self.length = FIRST;
            self.pause = (2 * self.pause).clamp(1, LONGEST_PAUSE);
            self.wait = self.pause;
            return;
        }
        (self.wait, self.pause) = (0, 0);
        if accepted == drafted {
            self.length = (2 * self.length).min(LONGEST);
        } else {
            self.length = accepted.max(FIRST);
            self.behind = self.from.map(|place| Place { index: place.index + accepted + 1, ..place });
        }
    }
}

/// The longest run that `text` has before one of its tokens and that `target` ends with; of equally long ones the last.
fn longest_run(text: &[u32], target: &[u32]) -> Option<Run> {
    let (last, before) = target.split_last()?;
    let run_at = |index: usize| {
        let same = text[..index].iter().rev().zip(before.iter().rev()).take_while(|(a, b)| a == b);
        1 + same.take(LONGEST_RUN - 1).count()
    };
    let ends = text[..text.len().saturating_sub(1)].iter().enumerate().rev().filter(|(_, token)| *token == last);
    let mut longest: Option<Run> = None;
    for (index, _) in ends {
        let run = Run { tokens: run_at(index), end: index + 1 };
        if longest.is_none_or(|longest| run.tokens > longest.tokens) {
            longest = Some(run);
        }
        if run.tokens == LONGEST_RUN {
            break;
        }
    }
    longest.filter(|run| run.tokens >= SHORTEST_RUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(drafter: &mut Drafter, source: &[u32], generated: &[u32], most: usize) -> Vec<u32> {
        drafter.draft(source, TargetTokens { start: 0, prompt: &[], generated }, most)
    }

    #[test]
    fn a_draft_goes_on_where_the_longest_run_came_before() {
        let source = [5, 6, 7, 8, 9, 6, 7, 3, 4];
        for (generated, draft) in [
            (&[6, 7][..], &[3, 4][..]),
            (&[5, 6, 7], &[8, 9, 6, 7]),
            (&[1, 7], &[]),
            (&[7], &[]),
            (&[], &[]),
            (&[3, 4], &[]),
            (&[1, 2, 9, 1, 2], &[9, 1, 2]),
        ] {
            assert_eq!(drafted(&mut Drafter::default(), &source, generated, 9), draft, "{generated:?}");
        }
        assert_eq!(drafted(&mut Drafter::default(), &source, &[5, 6, 7], 1), [8]);
        assert_eq!(drafted(&mut Drafter::default(), &source, &[5, 6, 7], 0), [0; 0]);
    }

    #[test]
    fn drafts_grow_while_they_are_right() {
        let source: Vec<u32> = (10..100).collect();
        let (mut drafter, mut target) = (Drafter::default(), vec![10, 11]);
        let mut lengths = Vec::new();
        while target.len() < 80 {
            let draft = drafted(&mut drafter, &source, &target, 99);
            lengths.push(draft.len());
            drafter.judge(draft.len(), draft.len());
            target.extend(draft);
            target.push(10 + target.len() as u32);
        }
        assert_eq!(lengths[..5], [4, 8, 16, 16, 16]);
    }

    #[test]
    fn a_text_that_copies_nothing_is_soon_left_alone() {
        let (mut drafter, mut drafts) = (Drafter::default(), 0);
        let target: Vec<u32> = std::iter::repeat_n([1, 2, 3], 400).flatten().collect();
        for length in 1..=target.len() {
            let draft = drafted(&mut drafter, &[], &target[..length], 99);
            if !draft.is_empty() {
                drafts += 1;
                drafter.judge(draft.len(), 0);
            }
        }
        assert!((8..30).contains(&drafts), "{drafts} of 1200");
    }

    #[test]
    fn a_token_that_replaces_one_of_the_source_does_not_end_the_copy() {
        let source = [10, 11, 12, 13, 14, 15, 16, 17];
        let mut drafter = Drafter::default();
        assert_eq!(drafted(&mut drafter, &source, &[10, 11], 9), [12, 13, 14, 15]);
        drafter.judge(4, 1);
        assert_eq!(drafted(&mut drafter, &source, &[10, 11, 12, 99], 9), [14, 15, 16, 17]);
        drafter.judge(4, 0);
        assert_eq!(drafted(&mut drafter, &source, &[10, 11, 12, 99, 98], 9), [0; 0], "it pauses");
    }
}
