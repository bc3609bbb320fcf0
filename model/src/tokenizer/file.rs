//! The contents of a `tokenizer.json`, checked before the tokenizers library sees any of it.
//!
//! Called by `tokenizer`. Accepts Gemma's pipeline only: the library panics on some broken files, and streaming and the
//! bound on a piece's length rely on that pipeline.

mod differences;
mod merge;
mod model;
mod template;

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::normalizers::Replace;

use super::pieces::{MAX_ID, Pieces, SPACE_MARK};
use crate::error::TokenizerProblem;
use model::Model;
use template::{Frame, Template};

pub(super) use differences::have_same_pieces;

type Result<T> = std::result::Result<T, TokenizerProblem>;

/// The fields that are read. `truncation` and `padding` are ignored.
#[derive(Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    post_processor: Option<Template>,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// The parts of a tokenizer.
pub(super) struct Parts {
    pub library: tokenizers::Tokenizer,
    pub frame: Frame,
    pub pieces: Pieces,
    byte_fallback: bool,
    swallows_spaces: bool,
}

impl TokenizerFile {
    /// Parses the file; nothing else of it is checked.
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|source| TokenizerProblem::Json { source })
    }

    /// Leaves out the added tokens with ids from `vocab` on that are no pieces of the model; gives their number.
    pub fn leave_out_added(&mut self, vocab: usize) -> usize {
        let before = self.added_tokens.len();
        let pieces = &self.model.vocab;
        self.added_tokens.retain(|added| (added.id as usize) < vocab || pieces.contains_key(&added.token.content));
        before - self.added_tokens.len()
    }

    /// Checks every part and builds the library's tokenizer from them.
    pub fn into_parts(self) -> Result<Parts> {
        self.check_pipeline()?;
        self.model.check()?;
        let pieces = self.pieces()?;
        let frame = self.post_processor.as_ref().map(|template| template.around(&pieces)).transpose()?;
        let byte_fallback = self.model.byte_fallback;
        let swallows_spaces = self.added_tokens.iter().any(|added| added.token.lstrip || added.token.rstrip);

        let mut library = tokenizers::Tokenizer::new(self.model.build()?);
        let normalizer = Replace::new(" ", SPACE_MARK).map_err(TokenizerProblem::refused)?;
        library.with_normalizer(Some(normalizer)).map_err(TokenizerProblem::refused)?;
        let expected: Vec<(String, u32)> =
            self.added_tokens.iter().map(|added| (added.token.content.clone(), added.id)).collect();
        library
            .add_tokens(self.added_tokens.into_iter().map(|added| added.token))
            .map_err(TokenizerProblem::refused)?;
        // The library gives an added token that is not in the vocabulary the next free id, whatever the file says.
        for (content, id) in expected {
            if library.token_to_id(&content) != Some(id) {
                return Err(TokenizerProblem::refused(format!("its added token {content:?} cannot have the id {id}")));
            }
        }
        Ok(Parts { library, frame: frame.unwrap_or_default(), pieces, byte_fallback, swallows_spaces })
    }

    /// Whether text is split as Gemma splits it: not at all, or at spaces, all of which the normalizer has replaced.
    fn has_gemmas_pre_tokenizer(&self) -> bool {
        let splits_at_spaces =
            self.pre_tokenizer["type"] == "Split" && self.pre_tokenizer["pattern"] == json!({"String": " "});
        self.pre_tokenizer.is_null() || splits_at_spaces
    }

    /// Refuses a pipeline that is not Gemma's.
    fn check_pipeline(&self) -> Result<()> {
        let normalizer = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK});
        if self.normalizer != normalizer {
            return Err(TokenizerProblem::refused("its normalizer is not Gemma's (Replace a space by U+2581)"));
        }
        if !self.has_gemmas_pre_tokenizer() {
            return Err(TokenizerProblem::refused("its pre-tokenizer is not Gemma's (none, or Split at spaces)"));
        }
        let decoder = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE_MARK}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]});
        if self.decoder == decoder { Ok(()) } else { Err(TokenizerProblem::Decoder) }
    }

    /// The piece of every id, those of added tokens last.
    fn pieces(&self) -> Result<Pieces> {
        let mut pieces = Pieces::default();
        let added = self.added_tokens.iter().map(|added| (&added.token.content, added.id));
        let vocab = self.model.vocab.iter().map(|(piece, &id)| (piece, id));
        if let Some((piece, id)) = vocab.clone().chain(added).find(|&(_, id)| id > MAX_ID) {
            return Err(TokenizerProblem::refused(format!(
                "its token {piece:?} has the id {id}; ids go up to {MAX_ID}"
            )));
        }
        for (piece, id) in vocab {
            if pieces.get(id).is_some() {
                return Err(TokenizerProblem::refused(format!("two of its pieces have the id {id}")));
            }
            pieces.set(id, piece);
        }
        let specials: HashSet<&str> = self
            .added_tokens
            .iter()
            .filter(|added| added.token.special)
            .map(|added| added.token.content.as_str())
            .collect();
        for added in &self.added_tokens {
            let content = &added.token.content;
            if specials.contains(content.as_str()) {
                pieces.set_special(added.id, content);
            } else {
                pieces.set(added.id, content);
            }
        }
        Ok(pieces)
    }
}

impl Parts {
    /// Length of the longest piece. `None` when there is no bound, because a character may become neither piece nor
    /// bytes.
    pub fn longest_piece_bytes(&self) -> Option<usize> {
        let has_every_byte = (0..=u8::MAX).all(|byte| self.library.token_to_id(&format!("<0x{byte:02X}>")).is_some());
        let is_bounded = self.byte_fallback && has_every_byte && !self.swallows_spaces;
        if is_bounded { self.pieces.iter().map(|piece| piece.bytes().len()).max() } else { None }
    }
}
