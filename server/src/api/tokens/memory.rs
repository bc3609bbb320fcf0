//! Memory of answers about texts and ids, reserved before they are made.
//!
//! Used by `tokenize` and `detokenize`. A text has no more tokens than bytes, and each byte is part of one token.

/// Bytes of an answer beside its texts and ids.
const HEAD_BYTES: usize = 1024;
/// Bytes of an id: the number, and up to ten digits and a comma in JSON.
const ID_BYTES: usize = 16;
/// Bytes of a token's name for each byte of the text, at most, in memory and in JSON: a token of one byte has a name of
/// its own, and a byte that is no text is written in five characters behind `bytes:`.
const NAME_BYTES: usize = 80;
/// Bytes of a text for each byte of its tokens, in memory (a byte that is no text becomes U+FFFD) and in JSON (a
/// control character is written in six).
const TEXT_BYTES: usize = 9;

/// Bytes of the answer with the ids of a text of so many bytes, and with their names.
pub const fn ids_bytes(text_bytes: usize, with_names: bool) -> usize {
    let each = if with_names { ID_BYTES + NAME_BYTES } else { ID_BYTES };
    HEAD_BYTES.saturating_add(text_bytes.saturating_mul(each))
}

/// Bytes of the answer with the text of tokens that have so many bytes in all.
pub const fn text_bytes(token_bytes: usize) -> usize {
    HEAD_BYTES.saturating_add(token_bytes.saturating_mul(TEXT_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a list of texts takes in memory, and as JSON.
    fn held(names: &[String]) -> usize {
        let in_memory: usize = names.iter().map(|name| size_of::<String>() + name.len().max(16) + 16).sum();
        in_memory + serde_json::to_vec(names).unwrap().len()
    }

    #[test]
    fn names_of_tokens_of_one_byte_take_no_more_than_is_reserved() {
        for name in ["a", "\u{1}", "bytes:\\xff"] {
            let names = vec![name.to_owned(); 1000];
            let ids = 1000 * size_of::<u32>() + serde_json::to_vec(&vec![u32::MAX; 1000]).unwrap().len();
            assert!(held(&names) + ids <= ids_bytes(1000, true), "{name}: {}", held(&names) + ids);
            assert!(ids <= ids_bytes(1000, false));
        }
    }

    #[test]
    fn a_text_takes_no_more_than_is_reserved() {
        for text in ["a", "\u{1}", "\"", "\u{fffd}"] {
            // A byte that is no text by itself becomes a character of three.
            let token_bytes = if text == "\u{fffd}" { 1 } else { text.len() };
            let long = text.repeat(1000);
            let taken = long.len() + serde_json::to_vec(&long).unwrap().len();
            assert!(taken <= text_bytes(1000 * token_bytes), "{text:?}: {taken}");
        }
    }
}
