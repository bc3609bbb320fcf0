//! Streamed text against the tokenizers library's own decoder, and what a stream may never do.

use crate::fixture;
use std::sync::LazyLock;

use model::Tokenizer;
use proptest::prelude::*;

static JSON: LazyLock<Vec<u8>> = LazyLock::new(|| fixture::bytes("t5gemma-balanced/tokenizer.json"));
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_bytes(&JSON).unwrap());
static LIBRARY: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| tokenizers::Tokenizer::from_bytes(&*JSON).unwrap());

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any ids at all: bytes in any order, special tokens, ids that do not exist.
    #[test]
    fn a_text_of_any_ids_is_the_librarys_wherever_its_bytes_are_characters(
        ids in prop::collection::vec(prop_oneof![0_u32..520, byte_ids()], 0..40)
    ) {
        let streamed = stream(&ids).concat();
        if runs_of_bytes(&ids).iter().all(|run| std::str::from_utf8(run).is_ok()) {
            prop_assert_eq!(&streamed, &LIBRARY.decode(&ids, true).unwrap());
        }
        prop_assert_eq!(streamed, TOKENIZER.decode(&ids));
    }

    /// Ids of real texts, with special tokens strewn in: every character arrives whole, in one part.
    #[test]
    fn a_stream_never_splits_a_character(text in "[ -~\\PC]{0,24}", special_at in 0_usize..64) {
        let mut ids = TOKENIZER.encode(&text).unwrap();
        ids.insert(special_at.min(ids.len()), 1);
        let parts = stream(&ids);
        let replacements = |text: &str| text.matches(char::REPLACEMENT_CHARACTER).count();
        prop_assert_eq!(replacements(&parts.concat()), replacements(&text));
        prop_assert_eq!(parts.concat(), LIBRARY.decode(&ids, true).unwrap());
    }

    /// A run of bytes that is no text: as many U+FFFD as invalid bytes, the valid characters kept.
    #[test]
    fn invalid_bytes_become_one_replacement_each(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        let ids: Vec<u32> = bytes.iter().map(|&byte| byte_id(byte)).collect();
        let mut expected = String::new();
        for chunk in bytes.utf8_chunks() {
            expected.push_str(chunk.valid());
            expected.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
        }
        prop_assert_eq!(stream(&ids).concat(), expected);
    }
}

#[test]
fn a_character_of_bytes_arrives_with_its_last_byte() {
    let ids: Vec<u32> = "é🧭".bytes().map(byte_id).collect();
    assert_eq!(stream(&ids), ["", "é", "", "", "", "🧭", ""]);
}

#[test]
fn text_after_an_incomplete_character_gives_it_up() {
    let [b_id] = TOKENIZER.encode("B").unwrap()[..] else { panic!("'B' is one piece") };
    assert_eq!(stream(&[byte_id(0xE5), byte_id(0x8F), b_id]), ["", "", "\u{fffd}\u{fffd}B", ""]);
    assert_eq!(stream(&[byte_id(0xE5), byte_id(0x8F)]), ["", "", "\u{fffd}\u{fffd}"]);
}

#[test]
fn what_an_id_gives_up_of_those_before_it_is_counted() {
    let [b_id] = TOKENIZER.encode("B").unwrap()[..] else { panic!("'B' is one piece") };
    let bytes = |bytes: &[u8]| bytes.iter().map(|&byte| byte_id(byte)).collect::<Vec<_>>();
    for (ids, expected) in [
        ([bytes(&[0xE5]), vec![b_id]].concat(), vec![0, 1]),
        ([bytes(&[0xE5, 0x8F]), vec![b_id]].concat(), vec![0, 0, 2]),
        ([bytes(&[0xE5]), vec![1, b_id]].concat(), vec![0, 0, 1]),
        ([bytes(&[0xE5, 0x8F, 0x96]), vec![b_id]].concat(), vec![0, 0, 0, 0]),
        (bytes(&[0xE5, b'x', 0xFF, 0xC3, 0xA9]), vec![0, 1, 0, 0, 0]),
        (bytes(&[0xF0, 0x9F, 0xE5, 0x8F, 0xFF]), vec![0, 0, 2, 0, 2]),
    ] {
        let mut detokenizer = TOKENIZER.detokenizer();
        let given_up: Vec<usize> = ids
            .iter()
            .map(|&id| {
                detokenizer.push(id);
                detokenizer.given_up()
            })
            .collect();
        assert_eq!(given_up, expected, "{ids:?}");
    }
}

#[test]
fn after_its_end_a_detokenizer_starts_anew() {
    let mut detokenizer = TOKENIZER.detokenizer();
    assert_eq!(detokenizer.push(byte_id(0xF0)), "");
    assert_eq!(detokenizer.finish(), "\u{fffd}");
    assert_eq!(detokenizer.finish(), "");
    assert_eq!(detokenizer.push(byte_id(b'x')), "x");
    assert_eq!(detokenizer.finish(), "");
}

/// The text that each push gives, and that of the end.
fn stream(ids: &[u32]) -> Vec<String> {
    let mut detokenizer = TOKENIZER.detokenizer();
    let mut parts: Vec<String> = ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect();
    parts.push(detokenizer.finish().to_owned());
    parts
}

fn byte_id(byte: u8) -> u32 {
    LIBRARY.token_to_id(&format!("<0x{byte:02X}>")).unwrap()
}

/// Bytes that are often those of characters.
fn byte_ids() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0xC3_u8), Just(0xA9), Just(0xF0), Just(0x9F), Just(0xA7), Just(0xAD), any::<u8>()]
        .prop_map(byte_id)
}

/// The runs of byte pieces, across special and unknown ids, which leave no trace.
fn runs_of_bytes(ids: &[u32]) -> Vec<Vec<u8>> {
    let mut runs = vec![Vec::new()];
    for &id in ids.iter().filter(|&&id| !TOKENIZER.is_special(id)) {
        let Some(piece) = LIBRARY.id_to_token(id) else { continue };
        match piece.strip_prefix("<0x").and_then(|rest| u8::from_str_radix(rest.trim_end_matches('>'), 16).ok()) {
            Some(byte) => runs.last_mut().unwrap().push(byte),
            None => runs.push(Vec::new()),
        }
    }
    runs
}
