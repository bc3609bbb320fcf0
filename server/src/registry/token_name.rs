//! Names of tokens in answers.
//!
//! Used by `served_model` and by whoever lists tokens.

use model::Tokenizer;

/// The name of a token of this tokenizer in `logprobs`. Bytes that are no text by themselves are written out, so that
/// two of them never share a name.
pub fn token_name(tokenizer: Option<&Tokenizer>, id: u32) -> String {
    let Some(bytes) = tokenizer.and_then(|tokenizer| tokenizer.piece_bytes(id)) else { return token_id_name(id) };
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |name, byte| format!("{name}\\x{byte:02x}")),
    }
}

/// The name of a token that has no text, or whose text another one has taken.
pub fn token_id_name(id: u32) -> String {
    format!("token_id:{id}")
}
