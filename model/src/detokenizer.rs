//! Token ids to text, one at a time, never splitting a character.
//!
//! Made by `Tokenizer::detokenizer`, one for each text that is being written. Stop strings are not its business.

use std::sync::Arc;

use crate::pieces::{Piece, Pieces};

/// The text of one sequence of ids, given out as soon as it is complete.
///
/// Characters without a piece of their own arrive as bytes, one an id; they are held until the character is whole.
/// Bytes that can be no part of a character become one U+FFFD each. Here the text may differ from the tokenizers
/// library's: it sees a whole run of bytes before it answers, and turns all of it into U+FFFD when any of it is
/// invalid; a stream has given the valid characters out by then. Special tokens and unknown ids leave no trace,
/// not even between the bytes of one character.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    pieces: Arc<Pieces>,
    /// Start of a character that is not complete yet.
    held: Vec<u8>,
    /// Text that the last call returned.
    text: String,
    /// Characters of `text` before those of the last id.
    given_up: usize,
}

impl Detokenizer {
    pub(crate) fn new(pieces: Arc<Pieces>) -> Self {
        Self { pieces, held: Vec::new(), text: String::new(), given_up: 0 }
    }

    /// Takes the next id and gives the text that it completes, often one piece, sometimes nothing.
    pub fn push(&mut self, id: u32) -> &str {
        self.text.clear();
        self.given_up = 0;
        match self.pieces.get(id) {
            None | Some(Piece::Special(_)) => {}
            Some(Piece::Byte(byte)) => {
                self.held.push(byte);
                give_out_complete(&mut self.held, &mut self.text);
                // The byte is either held, or the last character given out is the one that it belongs to.
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

    /// Characters at the beginning of what the last [`Self::push`] gave that stand before the character its id begins
    /// or belongs to: U+FFFD for bytes before it that became no character.
    pub const fn given_up(&self) -> usize {
        self.given_up
    }

    /// Ends the text: bytes still held become U+FFFD. Afterwards a new text may begin.
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
