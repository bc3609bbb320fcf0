//! The beginning of a choice's text: the decoder prompt as text, and the offset of each of its tokens.
//!
//! Built by `generation::tokenise`, read by `choice`.

use model::Detokenizer;

use crate::registry::ServedModel;

/// The state of a choice's text before its first generated token.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Text that is given back in front of the generated one; empty without echo.
    pub text: String,
    /// For each token of the decoder prompt, the characters of `text` before it; empty without echo.
    pub offsets: Vec<usize>,
    /// Has read the decoder prompt: a character may be under way. None without a tokenizer.
    pub detokenizer: Option<Detokenizer>,
}

/// A decoder prompt, tokenised.
#[derive(Debug)]
pub struct DecoderTokens<'a> {
    /// Its ids, without the start token.
    pub ids: &'a [u32],
    /// Its text where the client sent text, which is echoed unchanged.
    pub text: Option<String>,
    /// Whether the answer begins with it.
    pub is_echoed: bool,
    /// Whether special tokens are written by name, in it and after it.
    pub shows_special: bool,
}

impl Opening {
    /// The opening of targets that begin with these tokens.
    pub fn new(tokens: DecoderTokens<'_>, model: &ServedModel) -> Self {
        let DecoderTokens { ids, text: given, is_echoed: echo, shows_special } = tokens;
        let Some(tokenizer) = &model.tokenizer else {
            let offsets = if echo { vec![0; ids.len()] } else { Vec::new() };
            return Self { text: String::new(), offsets, detokenizer: None };
        };
        let mut detokenizer = tokenizer.detokenizer();
        if shows_special {
            detokenizer = detokenizer.with_special_tokens();
        }
        let mut decoded = String::new();
        let mut offsets = Vec::with_capacity(ids.len());
        let mut characters = 0;
        for &id in ids {
            let piece = detokenizer.push(id);
            let before = characters;
            characters += piece.chars().count();
            decoded.push_str(piece);
            offsets.push(before + detokenizer.given_up());
            if given.is_some() && !shows_special && tokenizer.is_special(id) {
                // Special tokens leave no text, but the client wrote this one out.
                characters += model.token_name(id).chars().count();
            }
        }
        if !echo {
            return Self { text: String::new(), offsets: Vec::new(), detokenizer: Some(detokenizer) };
        }
        let text = given.unwrap_or(decoded);
        // A tokenizer may normalise; its count must not lead past the text that is really there.
        let end = text.chars().count();
        offsets.iter_mut().for_each(|offset| *offset = end.min(*offset));
        Self { text, offsets, detokenizer: Some(detokenizer) }
    }
}
