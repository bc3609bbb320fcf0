//! What the API knows of the model it serves, and the model's names for tokens.
//!
//! Built by `serve`, used all over `api`. It holds no weights.

use std::sync::Arc;

use model::Tokenizer;

/// The served model, as far as requests are concerned.
#[derive(Debug)]
pub struct ServedModel {
    /// Name for clients.
    pub name: String,
    /// When it was loaded, in seconds since 1970.
    pub created: u64,
    /// Text to ids and back; without it only ids are served.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Ids the encoder knows.
    pub source_vocab: usize,
    /// Ids the decoder knows.
    pub target_vocab: usize,
    /// What the decoder begins with.
    pub start_token: u32,
    /// Source tokens, at most.
    pub max_source_tokens: usize,
    /// Decoder prompt plus generated tokens, at most.
    pub max_target_tokens: usize,
}

impl ServedModel {
    /// What `logprobs` calls a token. Bytes that are no text by themselves are written out, so that two of them never
    /// share a name.
    pub fn token_name(&self, id: u32) -> String {
        let piece = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.piece_bytes(id));
        let Some(bytes) = piece else { return token_id_name(id) };
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().fold("bytes:".to_owned(), |name, byte| format!("{name}\\x{byte:02x}")),
        }
    }
}

/// The name of a token that has no text, or whose text another one has taken.
pub fn token_id_name(id: u32) -> String {
    format!("token_id:{id}")
}
