//! The most room that a token of a model takes in an answer: what memory of log-probabilities is reckoned with.
//!
//! Found once when a model is put into service.

use model::Tokenizer;

use super::token_name::token_name;

/// Largest sizes of any token, each of which may be that of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongestToken {
    /// Bytes of a name.
    pub name: usize,
    /// Bytes of a name as JSON, its quotes included.
    pub name_json: usize,
    /// Bytes that a token stands for.
    pub piece: usize,
}

impl LongestToken {
    /// The sizes for a tokenizer, or for ids alone.
    pub fn of(tokenizer: Option<&Tokenizer>) -> Self {
        let ids = tokenizer.map_or(0..=0, |tokenizer| 0..=tokenizer.max_id());
        // The longest name of an id that has no text, and the quotes around it.
        let nameless = token_name(None, u32::MAX).len();
        let least = Self { name: nameless, name_json: nameless + 2, piece: 0 };
        ids.fold(least, |longest, id| {
            let name = token_name(tokenizer, id);
            let json = serde_json::to_string(&name).expect("strings serialise");
            let piece = tokenizer.and_then(|tokenizer| tokenizer.piece_bytes(id));
            Self {
                name: longest.name.max(name.len()),
                name_json: longest.name_json.max(json.len()),
                piece: longest.piece.max(piece.map_or(0, <[u8]>::len)),
            }
        })
    }
}
