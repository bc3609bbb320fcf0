//! Drafts: tokens that probably come next, copied from where the latest tokens came before.
//!
//! Kept by a sequence. The source and the text so far are searched for the longest run of tokens that the target ends
//! with; what followed it there is the draft. Every token that comes is compared with the one that was expected,
//! whether or not a step verified a draft. The share of those that were right is what a draft is worth.

use super::history::TargetTokens;

/// Most tokens of a draft.
const LONGEST: usize = 16;
/// Shortest run that is worth a draft: one token comes again too often.
const SHORTEST_RUN: usize = 2;
/// Runs are compared up to this length; longer ones count as equal.
const LONGEST_RUN: usize = 32;
/// Most places of a token from which runs are compared.
const MOST_PLACES: usize = 1024;
/// Tokens after an unexpected one among which it is looked for: so many may have been left out.
const NEAR: usize = 8;
/// Weight of an expected token once the next one has come: the last eight or so decide.
const REMEMBERED: f32 = 0.875;

/// Makes drafts for one line of tokens.
#[derive(Debug, Clone)]
pub struct Drafter {
    /// The target without its start token, as far as it was read.
    target: Vec<u32>,
    /// Where the next token is expected.
    place: Option<Place>,
    /// Tokens that were expected, and those of them that were right, the latest counting most.
    expected: f32,
    right: f32,
}

/// Tokens that may come next.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    /// The tokens. Often none.
    pub tokens: Vec<u32>,
    /// Probability that one of them is right, if those before it are.
    pub right: f32,
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
    /// Whether it is a guess, because the last token was not the expected one.
    guessed: bool,
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
        // As if one of two tokens had been right.
        Self { target: Vec::new(), place: None, expected: 2.0, right: 1.0 }
    }
}

impl Drafter {
    /// A draft of at most `most` tokens after `target`, which has all tokens of the last call and some more.
    pub fn draft(&mut self, source: &[u32], target: TargetTokens<'_>, most: usize) -> Draft {
        for position in self.target.len() + 1..target.len() {
            self.read(source, target.at(position));
        }
        // A run that goes on stays the longest.
        if let Some(place) = self.place.filter(|place| !place.guessed) {
            return self.after(place, source, most);
        }
        let own = longest_run(&self.target, &self.target).map(|run| (run.tokens, Text::Target, run.end));
        let copied = longest_run(source, &self.target).map(|run| (run.tokens, Text::Source, run.end));
        // Of equally long runs, that of the source counts.
        let longest = own.into_iter().chain(copied).max_by_key(|(tokens, ..)| *tokens);
        let found = longest.map(|(_, text, index)| Place { text, index, guessed: false });
        self.place = found.or(self.place);
        self.place.map_or_else(Draft::default, |place| self.after(place, source, most))
    }

    fn after(&self, place: Place, source: &[u32], most: usize) -> Draft {
        let following = self.text(place.text, source).iter().skip(place.index);
        Draft { tokens: following.take(most.min(LONGEST)).copied().collect(), right: self.right / self.expected }
    }

    /// Adds a token of the target, and moves on in the text that is copied.
    fn read(&mut self, source: &[u32], token: u32) {
        if let Some(place) = self.place {
            let text = self.text(place.text, source);
            let is_right = text.get(place.index) == Some(&token);
            let next = if is_right {
                Some(Place { index: place.index + 1, guessed: false, ..place })
            } else {
                place.after_unexpected(text, token)
            };
            self.place = next;
            self.expected = self.expected * REMEMBERED + 1.0;
            self.right = self.right * REMEMBERED + f32::from(is_right);
        }
        self.target.push(token);
    }

    fn text<'a>(&'a self, text: Text, source: &'a [u32]) -> &'a [u32] {
        match text {
            Text::Source => source,
            Text::Target => &self.target,
        }
    }
}

impl Place {
    /// Where the text probably goes on after a token that was not the expected one: behind that token where it stands
    /// nearby, as some were left out or one was added; else it was put in the place of the expected one. Twice in
    /// succession, the place is lost.
    fn after_unexpected(self, text: &[u32], token: u32) -> Option<Self> {
        let from = self.index.saturating_sub(1).min(text.len());
        let near = text[from..].iter().take(NEAR + 2).position(|&other| other == token).map(|index| from + index);
        let index = match near {
            Some(index) => index + 1,
            None if self.guessed => return None,
            None => self.index + 1,
        };
        Some(Self { index, guessed: true, ..self })
    }
}

/// The longest run that `text` has before one of its tokens and that `target` ends with; of equally long ones the last.
/// Of many places with the target's last token, the latest are looked at.
fn longest_run(text: &[u32], target: &[u32]) -> Option<Run> {
    let (last, before) = target.split_last()?;
    let run_at = |index: usize| {
        let same = text[..index].iter().rev().zip(before.iter().rev()).take_while(|(a, b)| a == b);
        1 + same.take(LONGEST_RUN - 1).count()
    };
    let ends = text[..text.len().saturating_sub(1)]
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, token)| *token == last)
        .take(MOST_PLACES);
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
        drafter.draft(source, TargetTokens { start: 0, prompt: &[], generated }, most).tokens
    }

    #[test]
    fn a_draft_goes_on_where_the_longest_run_came_before() {
        let source = [5, 6, 7, 8, 9, 6, 7, 3, 4];
        for (generated, draft) in [
            (&[6, 7][..], &[3, 4][..]),
            (&[5, 6, 7], &[8, 9, 6, 7, 3, 4]),
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

    /// The worth of a draft after a target that comes token by token.
    fn worth(source: &[u32], target: &[u32]) -> f32 {
        let mut drafter = Drafter::default();
        let drafts = (1..=target.len())
            .map(|len| drafter.draft(source, TargetTokens { start: 0, prompt: &[], generated: &target[..len] }, 9));
        drafts.last().expect("the target has tokens").right
    }

    #[test]
    fn a_draft_is_worth_the_share_of_expected_tokens_that_came() {
        let source: Vec<u32> = (10..100).collect();
        assert!(worth(&source, &source[..60]) > 0.99);
        // Of four tokens, one is another.
        let changed = |every: usize| -> Vec<u32> {
            source.iter().enumerate().map(|(index, &id)| if index % every == 0 { id + 1000 } else { id }).collect()
        };
        let (quarter, half) = (worth(&source, &changed(4)[..64]), worth(&source, &changed(2)[..64]));
        assert!((0.6..0.9).contains(&quarter), "{quarter}");
        assert!(half < quarter, "{half}");
        // A pair of tokens comes again and again, and others follow each time.
        let pairs: Vec<u32> = (0..40).flat_map(|index| [1, 2, 100 + index, 200 + index]).collect();
        let worthless = worth(&[], &pairs);
        assert!(worthless < 0.1, "{worthless}");
    }

    #[test]
    fn tokens_that_came_while_nothing_was_drafted_count() {
        let source: Vec<u32> = (10..100).collect();
        let mut drafter = Drafter::default();
        drafted(&mut drafter, &source, &source[..2], 9);
        let target = TargetTokens { start: 0, prompt: &[], generated: &source[..40] };
        assert!(drafter.draft(&source, target, 9).right > 0.99);
    }

    #[test]
    fn an_edit_does_not_end_the_copy() {
        let source = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
        for (then, draft) in [
            // In the place of 13.
            (&[99][..], &[14, 15, 16, 17][..]),
            // In the place of 13 and 14, and what comes then stands nearby.
            (&[99, 98], &[]),
            (&[99, 15], &[16, 17, 18, 19]),
            // Added.
            (&[99, 13], &[14, 15, 16, 17]),
            // Left out.
            (&[14], &[15, 16, 17, 18]),
            (&[17], &[18, 19]),
        ] {
            let (mut drafter, mut target) = (Drafter::default(), vec![10, 11, 12]);
            assert_eq!(drafted(&mut drafter, &source, &target, 4), [13, 14, 15, 16]);
            for &token in then {
                target.push(token);
                drafted(&mut drafter, &source, &target, 4);
            }
            assert_eq!(drafted(&mut drafter, &source, &target, 4), draft, "{then:?}");
        }
    }
}
