//! Text to token ids and back, for tokenizers in Gemma's form.
//!
//! Called by the server from any number of threads, and by training. Time and memory of [`Tokenizer::encode`] grow with
//! the text, memory by up to 150 bytes for each byte: a server asks [`Tokenizer::fewest_tokens`] first, or bounds the
//! bytes of a text of which it keeps only some tokens, and encodes on threads of their own.

mod detokenizer;
mod file;
mod pieces;

use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::checkpoint::folder;
use crate::error::{Error, Result};
use file::TokenizerFile;
use pieces::{Piece, Pieces};

pub use detokenizer::Detokenizer;

/// A tokenizer: byte-pair merges over text whose spaces have become U+2581, with bytes for what is in no piece.
#[derive(Debug)]
pub struct Tokenizer {
    library: tokenizers::Tokenizer,
    /// Ids that the file's post-processor puts before and after a text.
    before: Vec<u32>,
    after: Vec<u32>,
    pieces: Arc<Pieces>,
    vocab_size: usize,
    longest_piece_bytes: Option<usize>,
    fingerprint: u128,
}

/// Whether two tokenizer files give the same ids to the same pieces, whatever else differs.
pub(crate) fn have_same_pieces(first: &[u8], second: &[u8]) -> bool {
    file::have_same_pieces(first, second)
}

/// The differences by which two tokenizer files give different ids to the same text, in words. The dialect of the
/// merges and the special tokens around a text make no difference.
pub(crate) fn differences(first: &[u8], second: &[u8]) -> Result<Vec<String>> {
    let parse = |json| TokenizerFile::parse(json).map_err(|problem| Error::Tokenizer { problem });
    Ok(parse(first)?.differences(&parse(second)?))
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding that the file may ask for are not applied.
    ///
    /// # Errors
    /// When the file is broken, or its pipeline is not Gemma's: the others could not be streamed, or not bounded.
    pub fn from_bytes(json: &[u8]) -> Result<Self> {
        Self::for_vocabulary(json, usize::MAX)
    }

    /// Reads a `tokenizer.json` for a model with so many ids. An added token beyond them is left out, so that its name
    /// in a text is text like any other: files of Gemma 3 have `<image_soft_token>`, for which models without images
    /// lack a row. Other pieces stay, whatever their ids.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn for_vocabulary(json: &[u8], vocab: usize) -> Result<Self> {
        let within = |mut file: TokenizerFile| {
            let left_out = file.leave_out_added(vocab);
            Ok((file.into_parts()?, left_out))
        };
        let read = TokenizerFile::parse(json).and_then(within);
        let (parts, left_out) = read.map_err(|problem| Error::Tokenizer { problem })?;
        let longest_piece_bytes = parts.longest_piece_bytes();
        Ok(Self {
            longest_piece_bytes,
            fingerprint: xxh3_128(json) ^ left_out as u128,
            vocab_size: parts.library.get_vocab_size(true),
            library: parts.library,
            before: parts.frame.before,
            after: parts.frame.after,
            pieces: Arc::new(parts.pieces),
        })
    }

    /// Reads a `tokenizer.json` by its path.
    ///
    /// # Errors
    /// When the file cannot be read or is larger than any tokenizer, and as [`Self::from_bytes`].
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::from_bytes(&Self::contents_of(path)?)
    }

    /// The contents of a `tokenizer.json`, for callers that tell equal files apart from others.
    ///
    /// # Errors
    /// When the file cannot be read or is larger than any tokenizer.
    pub fn contents_of(path: &Path) -> Result<Vec<u8>> {
        folder::read_tokenizer(path)
    }

    /// The ids of a text.
    ///
    /// The name of a special token inside a text (`<eos>`, `<start_of_turn>`) becomes that token, as in all programs
    /// with these models: turns are written so. To refuse such texts, check the ids with [`Self::is_special`].
    ///
    /// # Errors
    /// When the tokenizer lacks a piece for part of the text and has no token for the unknown.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.library.encode_fast(text, false);
        let encoding = encoding.map_err(|error| Error::Tokenise { reason: error.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text between the special tokens that the file's post-processor adds (`<bos>`).
    ///
    /// # Errors
    /// When the text cannot be encoded; see [`Self::encode`].
    pub fn encode_with_special_tokens(&self, text: &str) -> Result<Vec<u32>> {
        Ok([&self.before[..], &self.encode(text)?, &self.after].concat())
    }

    /// The ids that [`Self::encode_with_special_tokens`] puts before and after a text.
    pub fn around(&self) -> (&[u32], &[u32]) {
        (&self.before, &self.after)
    }

    /// The id of a piece, written as in the file.
    pub fn id_of(&self, piece: &str) -> Option<u32> {
        self.library.token_to_id(piece)
    }

    /// A hash of the file, by which tokenised data is recognised.
    pub fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// The text of a whole sequence, without special tokens: the texts of a [`Detokenizer`] in one.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = self.detokenizer();
        let mut text = String::new();
        for &id in ids {
            text.push_str(detokenizer.push(id));
        }
        text.push_str(detokenizer.finish());
        text
    }

    /// A detokenizer for one text, which owns all it needs.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.pieces))
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The highest id; it must be below the model's vocabulary.
    pub fn max_id(&self) -> u32 {
        self.pieces.max_id()
    }

    /// The most bytes of text that one token can stand for, where U+2581 counts as one space. `None` when there is no
    /// such bound: without a byte piece for every byte, or with tokens that swallow spaces around them.
    pub fn longest_piece_bytes(&self) -> Option<usize> {
        self.longest_piece_bytes
    }

    /// A lower bound on the number of tokens of a text, without special tokens, known without tokenising it.
    pub fn fewest_tokens(&self, text: &str) -> usize {
        let Some(longest) = self.longest_piece_bytes else { return 0 };
        // A U+2581 that is in the text itself takes three bytes there and counts as one in the pieces.
        let bytes = text.len() - 2 * text.matches(pieces::SPACE_MARK).count();
        bytes.div_ceil(longest)
    }

    /// The bytes that an id stands for: a text, a single byte, which need not be text alone, or the name of a special
    /// token. `None` for an id that the tokenizer lacks.
    pub fn piece_bytes(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id).map(Piece::bytes)
    }

    /// Whether an id is a special token, which is not part of any text.
    pub fn is_special(&self, id: u32) -> bool {
        matches!(self.pieces.get(id), Some(Piece::Special(_)))
    }
}
