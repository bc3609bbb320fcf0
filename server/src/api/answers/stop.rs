//! Finds stop strings in a text that arrives in pieces. Pure; every way of cutting the text gives the same result.
//!
//! Used by `choice`. It must never let out a character that may turn out to belong to a stop string.

use std::sync::Arc;

/// The stop strings of a request, shared by its choices.
#[derive(Debug, Default)]
pub struct StopStrings {
    patterns: Vec<Pattern>,
    text: StopText,
}

/// Fate of the string that ends a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopText {
    /// The text ends before it.
    #[default]
    Cut,
    /// The text ends with it.
    Kept,
}

/// One string, ready for the Knuth-Morris-Pratt scan: linear in the text whatever the strings are.
#[derive(Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// For each length: the longest proper suffix of that prefix that is a prefix as well.
    fallback: Vec<u32>,
}

impl StopStrings {
    /// None of `strings` may be empty.
    pub fn new(strings: &[String], text: StopText) -> Self {
        Self { patterns: strings.iter().map(|string| Pattern::new(string.as_bytes())).collect(), text }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl Pattern {
    fn new(bytes: &[u8]) -> Self {
        debug_assert!(!bytes.is_empty(), "an empty stop string would match everywhere");
        let mut pattern = Self { bytes: bytes.to_vec(), fallback: vec![0; bytes.len() + 1] };
        let mut matched = 0;
        for (index, &byte) in bytes.iter().enumerate().skip(1) {
            matched = pattern.advance(matched, byte);
            pattern.fallback[index + 1] = u32::try_from(matched).expect("a stop string is far shorter than 4 GiB");
        }
        pattern
    }

    /// The length of the longest prefix that ends with `byte`, when `matched` bytes were matched before.
    fn advance(&self, mut matched: usize, byte: u8) -> usize {
        while matched > 0 && self.bytes[matched] != byte {
            matched = self.fallback[matched] as usize;
        }
        if self.bytes[matched] == byte { matched + 1 } else { 0 }
    }

    /// `matched`, or where the string is complete what of its end is a beginning of it as well.
    fn beyond(&self, matched: usize) -> usize {
        if matched == self.bytes.len() { self.fallback[matched] as usize } else { matched }
    }
}

/// The scan of one choice's text.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    strings: Arc<StopStrings>,
    /// Per string, how much of its beginning the text ends with.
    matched: Vec<usize>,
    /// Text that cannot be let out yet.
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// Nothing scanned yet.
    pub fn new(strings: &Arc<StopStrings>) -> Self {
        let matched = vec![0; strings.patterns.len()];
        Self { strings: Arc::clone(strings), matched, held: String::new(), stopped: false }
    }

    /// Whether a stop string has stood in the text. Nothing comes out afterwards.
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes text, in which a stop string counts unless `is_passed`: see [`Self::push`] and [`Self::pass`].
    pub fn take(&mut self, text: &str, is_passed: bool, out: &mut String) {
        if is_passed { self.pass(text, out) } else { self.push(text, out) }
    }

    /// Scans `text` and appends to `out` what is certain to stand before any stop string.
    ///
    /// The string that is complete first ends the text; of several that are complete at the same character the
    /// longest. That does not depend on how the text was cut into pieces.
    pub fn push(&mut self, text: &str, out: &mut String) {
        if self.stopped {
            return;
        }
        self.held.push_str(text);
        let scanned = self.held.len() - text.len();
        for (offset, byte) in text.bytes().enumerate() {
            if let Some(length) = self.advance(byte) {
                self.stopped = true;
                // The match may begin before this piece but never before what is held.
                let cut = if self.strings.text == StopText::Kept { 0 } else { length };
                out.push_str(&self.held[..scanned + offset + 1 - cut]);
                self.held.clear();
                return;
            }
        }
        self.release(out);
    }

    /// Adds text in which a stop string that ends does not count. A stop string that begins in it may end in later
    /// text.
    pub fn pass(&mut self, text: &str, out: &mut String) {
        self.held.push_str(text);
        for byte in text.bytes() {
            for (pattern, matched) in self.strings.patterns.iter().zip(&mut self.matched) {
                *matched = pattern.beyond(pattern.advance(*matched, byte));
            }
        }
        self.release(out);
    }

    /// Appends the rest: no more text comes, so nothing can become a stop string.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Appends what cannot be the beginning of a stop string.
    fn release(&mut self, out: &mut String) {
        // A prefix of a stop string begins at a character's first byte, and pieces end at a character's last.
        let keep = self.matched.iter().copied().max().unwrap_or(0);
        let free = self.held.len() - keep;
        out.push_str(&self.held[..free]);
        self.held.drain(..free);
    }

    /// Moves every scan by one byte; the length of the longest string that is complete now.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        let mut longest = None;
        for (pattern, matched) in self.strings.patterns.iter().zip(&mut self.matched) {
            *matched = pattern.advance(*matched, byte);
            if *matched == pattern.bytes.len() {
                longest = longest.max(Some(*matched));
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[String], pieces: &[&str]) -> (Vec<String>, bool) {
        run_after(0, stops, pieces)
    }

    /// No stop string counts that ends in the first `passed` pieces.
    fn run_after(passed: usize, stops: &[String], pieces: &[&str]) -> (Vec<String>, bool) {
        let strings = Arc::new(StopStrings::new(stops, StopText::Cut));
        let mut matcher = StopMatcher::new(&strings);
        let mut outputs: Vec<String> = pieces
            .iter()
            .enumerate()
            .map(|(index, piece)| {
                let mut out = String::new();
                if index < passed {
                    matcher.pass(piece, &mut out)
                } else {
                    matcher.push(piece, &mut out)
                }
                out
            })
            .collect();
        let mut rest = String::new();
        matcher.finish(&mut rest);
        outputs.push(rest);
        (outputs, matcher.stopped())
    }

    /// The definition, written as slowly and plainly as possible: no stop string counts that ends in the first `passed`
    /// bytes.
    fn expected(stops: &[String], text: &str, passed: usize) -> (String, bool) {
        for end in passed + 1..=text.len() {
            let longest = stops.iter().filter(|stop| text.as_bytes()[..end].ends_with(stop.as_bytes()));
            if let Some(stop) = longest.max_by_key(|stop| stop.len()) {
                return (text[..end - stop.len()].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    fn owned(stops: &[&str]) -> Vec<String> {
        stops.iter().map(|&stop| stop.to_owned()).collect()
    }

    #[test]
    fn a_stop_string_across_three_pieces_is_cut_and_its_beginning_never_let_out() {
        let (outputs, stopped) = run(&owned(&["END."]), &["one E", "N", "D. two"]);
        assert_eq!(outputs, ["one ", "", "", ""]);
        assert!(stopped);
    }

    #[test]
    fn a_false_start_is_let_out_as_soon_as_it_is_known_to_be_one() {
        let (outputs, stopped) = run(&owned(&["aab"]), &["xaa", "a", "c"]);
        assert_eq!(outputs, ["x", "a", "aac", ""]);
        assert!(!stopped);
    }

    #[test]
    fn text_held_for_a_longer_string_comes_out_when_a_shorter_one_ends_the_text() {
        let (outputs, stopped) = run(&owned(&["abcdX", "bc"]), &["za", "bc"]);
        assert_eq!(outputs.concat(), "za");
        assert!(stopped);
    }

    #[test]
    fn a_stop_string_that_is_kept_ends_the_text_and_nothing_follows_it() {
        let strings = Arc::new(StopStrings::new(&owned(&["END"]), StopText::Kept));
        let (mut matcher, mut out) = (StopMatcher::new(&strings), String::new());
        ["one E", "ND two", " three"].into_iter().for_each(|piece| matcher.push(piece, &mut out));
        assert_eq!((out.as_str(), matcher.stopped()), ("one END", true));
    }

    #[test]
    fn without_stop_strings_everything_passes_at_once() {
        assert_eq!(run(&[], &["a", "é"]), (owned(&["a", "é", ""]), false));
    }

    #[test]
    fn a_stop_string_that_ends_in_passed_text_is_text_and_one_that_ends_after_it_is_cut() {
        let (outputs, stopped) = run_after(2, &owned(&["END"]), &["an END, E", "N", "D of it"]);
        assert_eq!((outputs.concat().as_str(), stopped), ("an END, ", true));
        assert_eq!(outputs[0], "an END, ", "what could begin one is held back in passed text as well");
        let (outputs, stopped) = run_after(1, &owned(&["aa"]), &["aaa", "b", "a"]);
        assert_eq!((outputs.concat().as_str(), stopped), ("aaaba", false));
        let (outputs, stopped) = run_after(1, &owned(&["aa"]), &["aaa", "a"]);
        assert_eq!((outputs.concat().as_str(), stopped), ("aa", true), "its beginning may be another's end");
    }

    proptest! {
        #[test]
        fn any_way_of_cutting_the_text_gives_the_same_and_never_leaks(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            text in "[abcé]{0,24}",
            cuts in prop::collection::vec(0_usize..25, 0..8),
            passed in 0_usize..4,
        ) {
            let mut borders: Vec<usize> = text.char_indices().map(|(index, _)| index).collect();
            borders.push(text.len());
            let mut at: Vec<usize> = cuts.iter().map(|cut| borders[cut % borders.len()]).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<&str> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();

            let (outputs, stopped) = run_after(passed, &stops, &pieces);
            let passed_bytes = pieces.iter().take(passed).map(|piece| piece.len()).sum();
            let (whole, stops_there) = expected(&stops, &text, passed_bytes);
            prop_assert_eq!(outputs.concat(), whole.clone());
            prop_assert_eq!(stopped, stops_there);

            // What was let out after each piece is a beginning of the final text, and nothing is held that
            // could not begin a stop string.
            let mut sent = String::new();
            let mut seen = String::new();
            for (piece, output) in pieces.iter().zip(&outputs) {
                sent.push_str(output);
                seen.push_str(piece);
                prop_assert!(whole.starts_with(&sent));
                let held = seen.strip_prefix(&sent).unwrap_or_default();
                prop_assert!(stopped || held.is_empty() || stops.iter().any(|stop| stop.starts_with(held)));
            }
        }
    }
}
