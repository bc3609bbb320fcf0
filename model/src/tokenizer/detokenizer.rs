//! Token ids to text, one id at a time, never splitting a character.
//!
//! Made by `Tokenizer::detokenizer`, one for each text that is written. Knows nothing of stop strings.

use std::sync::Arc;

use super::pieces::{Piece, Pieces};

/// Turns one sequence of ids into text, each character as soon as it is complete.
///
/// A character without a piece of its own arrives as bytes, one an id; they are held until the character is complete.
/// A byte that can be no part of a character becomes U+FFFD. Here the text may differ from that of the tokenizers
/// library, which sees a whole run of bytes first and turns all of it into U+FFFD when any of it is invalid; a stream
/// has written the valid characters by then. Special tokens and unknown ids leave no trace, even between the bytes of a
/// character.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    pieces: Arc<Pieces>,
    /// Bytes of a character that is not complete yet.
    held: Vec<u8>,
    /// Text that the last call completed.
    text: String,
    /// Number of characters of `text` that belong to earlier ids.
    given_up: usize,
    /// Whether special tokens are written by name.
    shows_special: bool,
}

impl Detokenizer {
    pub(crate) fn new(pieces: Arc<Pieces>) -> Self {
        Self { pieces, held: Vec::new(), text: String::new(), given_up: 0, shows_special: false }
    }

    /// Writes special tokens by name from now on.
    #[must_use]
    pub fn with_special_tokens(self) -> Self {
        Self { shows_special: true, ..self }
    }

    /// Takes the next id and returns the text that it completes: often one piece, sometimes nothing.
    pub fn push(&mut self, id: u32) -> &str {
        self.text.clear();
        self.given_up = 0;
        match self.pieces.get(id) {
            Some(Piece::Special(name)) if self.shows_special => {
                self.given_up = self.held.len();
                give_up(&mut self.held, &mut self.text);
                self.text.push_str(name);
            }
            None | Some(Piece::Special(_)) => {}
            Some(Piece::Byte(byte)) => {
                self.held.push(byte);
                give_out_complete(&mut self.held, &mut self.text);
                // The byte is either held, or part of the last character of the text.
                let own = usize::from(self.held.is_empty());
                self.given_up = self.text.chars().count() - own;
            }
            Some(Piece::Text(text)) => {
                self.given_up = self.held.len();
                give_up(&mut self.held, &mut self.text);
                self.text.push_str(text);
            }
        }
        &self.text
    }

    /// Number of characters at the start of the last [`Self::push`]'s text that belong to earlier ids: U+FFFD for bytes
    /// that became no character.
    pub const fn given_up(&self) -> usize {
        self.given_up
    }

    /// Ends the text: bytes that are still held become U+FFFD. Afterwards a new text may begin.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        give_up(&mut self.held, &mut self.text);
        &self.text
    }
}

/// Moves whole characters from `held` to `text`, and bytes that can never become one as U+FFFD.
fn give_out_complete(held: &mut Vec<u8>, text: &mut String) {
    let mut done = 0;
    for chunk in held.utf8_chunks() {
        text.push_str(chunk.valid());
        done += chunk.valid().len();
        let invalid = chunk.invalid();
        let is_incomplete = done + invalid.len() == held.len() && may_continue(invalid);
        if !is_incomplete {
            text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, invalid.len()));
            done += invalid.len();
        }
    }
    held.drain(..done);
}

/// Whether bytes are the beginning of a character rather than an error.
fn may_continue(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

fn give_up(held: &mut Vec<u8>, text: &mut String) {
    text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, held.len()));
    held.clear();
}
