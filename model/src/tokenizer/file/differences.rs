//! The differences by which two tokenizer files give different ids to the same text.
//!
//! Asked when checkpoints are adapted, whose ids have to mean the same. The dialect of the merges and the special
//! tokens around a text make no difference.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use tokenizers::AddedToken;

use super::{Added, TokenizerFile};

/// Whether two tokenizer files give the same ids to the same pieces, whatever else differs.
pub(in crate::tokenizer) fn have_same_pieces(first: &[u8], second: &[u8]) -> bool {
    let pieces = |text: &[u8]| {
        let file: Value = serde_json::from_slice(text).ok()?;
        file.pointer("/model/vocab").cloned()
    };
    pieces(first) == pieces(second)
}

impl TokenizerFile {
    /// The differences in words; none when both files give the same ids to every text.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (own, others) = (&self.model, &other.model);
        let elsewhere = |vocab: &HashMap<String, u32>, other: &HashMap<String, u32>| {
            vocab.iter().filter(|(piece, id)| other.get(*piece) != Some(id)).count()
        };
        let pieces = elsewhere(&own.vocab, &others.vocab).max(elsewhere(&others.vocab, &own.vocab));
        let settings = [
            ("type", own.is_bpe() != others.is_bpe()),
            ("dropout", own.dropout.unwrap_or(0.0) != others.dropout.unwrap_or(0.0)),
            ("unk_token", own.unk_token != others.unk_token),
            ("fuse_unk", own.fuse_unk != others.fuse_unk),
            ("byte_fallback", own.byte_fallback != others.byte_fallback),
            ("ignore_merges", own.ignore_merges != others.ignore_merges),
            ("affixes", own.affixes().ne(others.affixes())),
        ];
        [
            (pieces > 0).then(|| format!("{pieces} pieces have another id or are in one only")),
            (own.merges != others.merges).then(|| "their merges".to_owned()),
            self.added_difference(other),
            (self.normalizer != other.normalizer).then(|| "their normalisers".to_owned()),
            (self.has_gemmas_pre_tokenizer() != other.has_gemmas_pre_tokenizer())
                .then(|| "their pre-tokenizers".to_owned()),
        ]
        .into_iter()
        .flatten()
        .chain(settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()))
        .collect()
    }

    /// The first added token that differs in another file, where it is found elsewhere in a text or takes spaces along.
    fn added_difference(&self, other: &Self) -> Option<String> {
        let by_id = |file: &'_ Self| -> BTreeMap<u32, String> {
            file.added_tokens.iter().map(|added| (added.id, added.description())).collect()
        };
        let (own, others) = (by_id(self), by_id(other));
        let id = own.keys().chain(others.keys()).find(|id| own.get(id) != others.get(id))?;
        let of = |tokens: &BTreeMap<u32, String>| tokens.get(id).map_or("in one only", String::as_str).to_owned();
        Some(format!("their added or special tokens, as {id}: {}; {}", of(&own), of(&others)))
    }
}

impl Added {
    fn description(&self) -> String {
        let AddedToken { content, single_word, lstrip, rstrip, normalized, special } = &self.token;
        let flags = [
            ("single_word", single_word),
            ("lstrip", lstrip),
            ("rstrip", rstrip),
            ("normalized", normalized),
            ("special", special),
        ];
        let set: Vec<&str> = flags.into_iter().filter(|(_, is_set)| **is_set).map(|(name, _)| name).collect();
        format!("{content:?} with {}", if set.is_empty() { "no flag".to_owned() } else { set.join(", ") })
    }
}
