//! `tokenizer.json`: reading it, and texts there and back with whatever was accepted.

use std::time::Duration;

use model::Tokenizer;

use crate::seeds::of_fixtures;
use crate::target::Target;

/// `tokenizer.json` of a checkpoint.
pub const TOKENIZERS: Target =
    Target { name: "tokenizers", seeds: || of_fixtures("tokenizer.json"), parse, patience: Duration::from_secs(10) };

const TEXTS: [&str; 3] = ["A small library\n  for files: \u{e9}\u{1f600}", "<eos><bos>\u{2581}\u{2581}", ""];

fn parse(input: &[u8]) {
    let Ok(tokenizer) = Tokenizer::from_bytes(input) else { return };
    for text in TEXTS {
        let fewest = tokenizer.fewest_tokens(text);
        let Ok(ids) = tokenizer.encode(text) else { continue };
        assert!(ids.len() >= fewest, "{} tokens, at least {fewest} were promised", ids.len());
        let _ = (tokenizer.decode(&ids), tokenizer.encode_with_special_tokens(text));
        let mut detokenizer = tokenizer.detokenizer();
        for id in ids.into_iter().chain([0, 1, tokenizer.max_id(), tokenizer.max_id().wrapping_add(1), u32::MAX]) {
            let _ = (detokenizer.push(id), tokenizer.piece_bytes(id), tokenizer.is_special(id));
        }
        let _ = detokenizer.finish();
    }
}
