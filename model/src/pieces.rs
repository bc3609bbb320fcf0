//! The piece of every token id, packed: one text for all pieces, and a span of it for each id.
//!
//! Built by `tokenizer::file`, read by `Tokenizer` and every `Detokenizer`.

/// Gemma's mark for a space (U+2581).
pub(crate) const SPACE_MARK: &str = "\u{2581}";

/// Ids above this are refused, so that a broken file cannot ask for a table of 4 billion.
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

/// Piece of an id.
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
    Text { start: u32, end: u32 },
    Special { start: u32, end: u32 },
}

impl Pieces {
    /// The piece of an id, if there is such an id.
    pub fn get(&self, id: u32) -> Option<Piece<'_>> {
        match *self.entries.get(id as usize)? {
            Entry::Absent => None,
            Entry::Byte(byte) => Some(Piece::Byte(byte)),
            Entry::Text { start, end } => Some(Piece::Text(&self.text[start as usize..end as usize])),
            Entry::Special { start, end } => Some(Piece::Special(&self.text[start as usize..end as usize])),
        }
    }

    /// Sets what an id stands for, from the piece as the file writes it. `id` is at most [`MAX_ID`], and all pieces
    /// together stay below 4 GiB: the file that holds them is read up to 256 MiB.
    pub(crate) fn set(&mut self, id: u32, written: &str, special: bool) {
        let index = id as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, Entry::Absent);
        }
        if !special && let Some(byte) = byte_of(written) {
            self.entries[index] = Entry::Byte(byte);
            return;
        }
        let start = self.text.len() as u32;
        for (part, text) in written.split(SPACE_MARK).enumerate() {
            if part > 0 {
                self.text.push(' ');
            }
            self.text.push_str(text);
        }
        let end = self.text.len() as u32;
        self.entries[index] = if special { Entry::Special { start, end } } else { Entry::Text { start, end } };
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
