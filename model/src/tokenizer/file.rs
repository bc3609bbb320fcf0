//! The contents of a `tokenizer.json`, checked before the tokenizers library sees any of it.
//!
//! Called by `tokenizer`. Accepts Gemma's pipeline only: the library panics on some broken files, and everything
//! said about streaming and about the longest piece rests on that pipeline.

mod differences;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::Replace;

use crate::error::TokenizerProblem;
use crate::pieces::{MAX_ID, Pieces, SPACE_MARK};

pub(super) use differences::have_same_pieces;

type Result<T> = std::result::Result<T, TokenizerProblem>;

/// The fields that matter here; `truncation` and `padding` are left unread.
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

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

/// Two pieces that become one; written as a pair or, by older versions, with a space between them.
#[derive(PartialEq)]
struct Merge(String, String);

/// The post-processor: which special tokens stand around a single text.
#[derive(Deserialize)]
struct Template {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    single: Vec<TemplatePiece>,
    #[serde(default)]
    special_tokens: HashMap<String, TemplateToken>,
}

#[derive(Deserialize)]
enum TemplatePiece {
    Sequence { id: String },
    SpecialToken { id: String },
}

#[derive(Deserialize)]
struct TemplateToken {
    ids: Vec<u32>,
}

/// The parts of a tokenizer.
pub(super) struct Parts {
    pub library: tokenizers::Tokenizer,
    pub before: Vec<u32>,
    pub after: Vec<u32>,
    pub pieces: Pieces,
    byte_fallback: bool,
    swallows_spaces: bool,
}

impl TokenizerFile {
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|source| TokenizerProblem::Json { source })
    }

    /// Checks every part and builds the library's tokenizer from them.
    pub fn into_parts(self) -> Result<Parts> {
        self.check_pipeline()?;
        self.model.check()?;
        let pieces = self.pieces()?;
        let (before, after) = match &self.post_processor {
            Some(template) => template.around(&pieces)?,
            None => (Vec::new(), Vec::new()),
        };
        let byte_fallback = self.model.byte_fallback;
        let swallows_spaces = self.added_tokens.iter().any(|added| added.token.lstrip || added.token.rstrip);

        let mut library = tokenizers::Tokenizer::new(self.model.build()?);
        let normalizer = Replace::new(" ", SPACE_MARK).map_err(refused)?;
        library.with_normalizer(Some(normalizer)).map_err(refused)?;
        let expected: Vec<(String, u32)> =
            self.added_tokens.iter().map(|added| (added.token.content.clone(), added.id)).collect();
        library.add_tokens(self.added_tokens.into_iter().map(|added| added.token)).map_err(refused)?;
        // The library gives an added token that is not in the vocabulary the next free id, whatever the file says.
        for (content, id) in expected {
            if library.token_to_id(&content) != Some(id) {
                return Err(refused(format!("its added token {content:?} cannot have the id {id}")));
            }
        }
        Ok(Parts { library, before, after, pieces, byte_fallback, swallows_spaces })
    }

    /// Splitting at spaces does nothing once the normalizer has replaced them all.
    fn has_gemmas_pre_tokenizer(&self) -> bool {
        let splits_at_spaces =
            self.pre_tokenizer["type"] == "Split" && self.pre_tokenizer["pattern"] == json!({"String": " "});
        self.pre_tokenizer.is_null() || splits_at_spaces
    }

    fn check_pipeline(&self) -> Result<()> {
        let normalizer = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK});
        if self.normalizer != normalizer {
            return Err(refused("its normalizer is not Gemma's (Replace a space by U+2581)"));
        }
        if !self.has_gemmas_pre_tokenizer() {
            return Err(refused("its pre-tokenizer is not Gemma's (none, or Split at spaces)"));
        }
        let decoder = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE_MARK}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]});
        if self.decoder == decoder { Ok(()) } else { Err(TokenizerProblem::Decoder) }
    }

    fn pieces(&self) -> Result<Pieces> {
        let mut pieces = Pieces::default();
        let added = self.added_tokens.iter().map(|added| (&added.token.content, added.id));
        let vocab = self.model.vocab.iter().map(|(piece, &id)| (piece, id));
        if let Some((piece, id)) = vocab.clone().chain(added).find(|&(_, id)| id > MAX_ID) {
            return Err(refused(format!("its token {piece:?} has the id {id}; ids go up to {MAX_ID}")));
        }
        for (piece, id) in vocab {
            if pieces.get(id).is_some() {
                return Err(refused(format!("two of its pieces have the id {id}")));
            }
            pieces.set(id, piece, false);
        }
        let specials: HashSet<&str> = self
            .added_tokens
            .iter()
            .filter(|added| added.token.special)
            .map(|added| added.token.content.as_str())
            .collect();
        for added in &self.added_tokens {
            let content = &added.token.content;
            pieces.set(added.id, content, specials.contains(content.as_str()));
        }
        Ok(pieces)
    }
}

impl Model {
    fn is_bpe(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "BPE")
    }

    /// Marks that pieces have at their ends; Gemma's have none.
    fn affixes(&self) -> impl Iterator<Item = &str> {
        let affixes = [&self.continuing_subword_prefix, &self.end_of_word_suffix];
        affixes.map(|affix| affix.as_deref().unwrap_or_default()).into_iter()
    }

    fn check(&self) -> Result<()> {
        if !self.is_bpe() {
            return Err(refused(format!("its model is {}, not BPE", self.kind.as_deref().unwrap_or_default())));
        }
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err(refused("it drops merges at random"));
        }
        if self.affixes().any(|affix| !affix.is_empty()) {
            return Err(refused("its pieces carry a prefix or suffix, which Gemma's do not"));
        }
        if let Some(unknown) = self.unk_token.as_ref().filter(|unknown| !self.vocab.contains_key(*unknown)) {
            return Err(refused(format!("its token for the unknown, {unknown:?}, is not in its vocabulary")));
        }
        // The library looks merged pieces up, but panics when one is longer than any that there is.
        let longest = self.vocab.keys().map(String::len).max().unwrap_or(0);
        if let Some(Merge(left, right)) = self.merges.iter().find(|merge| merge.0.len() + merge.1.len() > longest) {
            return Err(refused(format!("its merge of {left:?} and {right:?} is longer than all of its pieces")));
        }
        Ok(())
    }

    fn build(self) -> Result<BPE> {
        let vocab: Vocab = self.vocab.into_iter().collect();
        let merges = self.merges.into_iter().map(|Merge(left, right)| (left, right)).collect();
        let mut builder = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .fuse_unk(self.fuse_unk)
            .byte_fallback(self.byte_fallback)
            .ignore_merges(self.ignore_merges)
            // A whole text is one word here, so that no two lookups would meet.
            .cache_capacity(0);
        if let Some(unknown) = self.unk_token {
            builder = builder.unk_token(unknown);
        }
        builder.build().map_err(|error| refused(format!("its merges do not fit its vocabulary: {error}")))
    }
}

impl Template {
    /// The ids before and after a text.
    fn around(&self, pieces: &Pieces) -> Result<(Vec<u32>, Vec<u32>)> {
        if self.kind != "TemplateProcessing" {
            return Err(refused(format!("its post-processor is {}, not TemplateProcessing", self.kind)));
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut texts = 0;
        for piece in &self.single {
            match piece {
                TemplatePiece::Sequence { id } if id == "A" => texts += 1,
                TemplatePiece::Sequence { id } => {
                    return Err(refused(format!("its template for one text asks for a text {id:?}")));
                }
                TemplatePiece::SpecialToken { id } => {
                    let token = self.special_tokens.get(id);
                    let token = token.ok_or_else(|| refused(format!("its template lacks the token {id:?}")))?;
                    if token.ids.iter().any(|&id| pieces.get(id).is_none()) {
                        return Err(refused(format!("its template's token {id:?} has ids that it lacks")));
                    }
                    if texts == 0 { before.extend(&token.ids) } else { after.extend(&token.ids) }
                }
            }
        }
        if texts == 1 { Ok((before, after)) } else { Err(refused("its template does not hold the text once")) }
    }
}

impl Parts {
    /// The longest piece, where there is a bound at all: every character of a text must become pieces or bytes.
    pub fn longest_piece_bytes(&self) -> Option<usize> {
        let has_every_byte = (0..=u8::MAX).all(|byte| self.library.token_to_id(&format!("<0x{byte:02X}>")).is_some());
        let is_bounded = self.byte_fallback && has_every_byte && !self.swallows_spaces;
        if is_bounded { self.pieces.iter().map(|piece| piece.bytes().len()).max() } else { None }
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = Merge;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge: two pieces")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Merge, E> {
        match text.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok(Merge(left.to_owned(), right.to_owned())),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<Merge, A::Error> {
        let left = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let right = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        if sequence.next_element::<serde::de::IgnoredAny>()?.is_some() {
            return Err(A::Error::invalid_length(3, &self));
        }
        Ok(Merge(left, right))
    }
}

fn refused(reason: impl ToString) -> TokenizerProblem {
    TokenizerProblem::Refused { reason: reason.to_string() }
}
