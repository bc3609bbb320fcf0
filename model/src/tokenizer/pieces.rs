//! The piece of text, byte or name that each token id stands for: one text for all ids, and a span of it for each.
//!
//! Built by `file`, read by `Tokenizer` and every `Detokenizer`.

/// Gemma's mark for a space (U+2581).
pub(crate) const SPACE_MARK: &str = "\u{2581}";

/// Highest id. A broken file could otherwise ask for a table of 4 billion ids.
pub(crate) const MAX_ID: u32 = (1 << 24) - 1;

static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = byte as u8;
        byte += 1;
    }
    bytes
};

/// The piece that an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text, spaces written as spaces.
    Text(&'a str),
    /// One byte of a character that has no piece.
    Byte(u8),
    /// A special token, by name.
    Special(&'a str),
}

impl<'a> Piece<'a> {
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) | Self::Special(text) => text.as_bytes(),
            Self::Byte(byte) => std::slice::from_ref(&BYTES[usize::from(byte)]),
        }
    }
}

/// The pieces of all ids.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    text: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    Absent,
    Byte(u8),
    Text(Span),
    Special(Span),
}

/// A part of the text of all pieces.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Pieces {
    /// The piece of an id; `None` when there is no such id.
    pub fn get(&self, id: u32) -> Option<Piece<'_>> {
        match *self.entries.get(id as usize)? {
            Entry::Absent => None,
            Entry::Byte(byte) => Some(Piece::Byte(byte)),
            Entry::Text(span) => Some(Piece::Text(self.text(span))),
            Entry::Special(span) => Some(Piece::Special(self.text(span))),
        }
    }

    /// Sets the piece of an id, as the file writes it: text, or a byte as `<0xNN>`. `id` is at most [`MAX_ID`], and all
    /// pieces together stay below 4 GiB: the file that holds them is at most 64 MiB.
    pub fn set(&mut self, id: u32, written: &str) {
        let entry = match byte_of(written) {
            Some(byte) => Entry::Byte(byte),
            None => Entry::Text(self.add_text(written)),
        };
        self.set_entry(id, entry);
    }

    /// Makes an id a special token of this name.
    pub fn set_special(&mut self, id: u32, name: &str) {
        let name = self.add_text(name);
        self.set_entry(id, Entry::Special(name));
    }

    fn set_entry(&mut self, id: u32, entry: Entry) {
        let index = id as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, Entry::Absent);
        }
        self.entries[index] = entry;
    }

    /// Adds a text, spaces as spaces.
    fn add_text(&mut self, written: &str) -> Span {
        let start = self.text.len() as u32;
        for (part, text) in written.split(SPACE_MARK).enumerate() {
            if part > 0 {
                self.text.push(' ');
            }
            self.text.push_str(text);
        }
        Span { start, end: self.text.len() as u32 }
    }

    fn text(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// The highest id, 0 when there are none.
    pub fn max_id(&self) -> u32 {
        self.entries.len().saturating_sub(1) as u32
    }

    /// Every piece.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Piece<'_>> {
        (0..self.entries.len() as u32).filter_map(|id| self.get(id))
    }
}

/// The byte of a piece written `<0xNN>`.
fn byte_of(written: &str) -> Option<u8> {
    let digits = written.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}
