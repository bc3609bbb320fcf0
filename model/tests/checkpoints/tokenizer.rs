//! Token ids and texts against what transformers gives for the fixtures and the demo checkpoint.

use crate::fixture;
use std::time::{Duration, Instant};

use crate::fixture::{Case, DemoRow};
use model::{Checkpoint, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn every_text_of_the_fixtures_gets_the_references_ids() {
    for folder in fixture::FOLDERS {
        let tokenizer = fixture_tokenizer(folder);
        for case in Case::all(folder) {
            assert_eq!(
                tokenizer.encode_with_special_tokens(&case.text).unwrap(),
                case.input_ids,
                "{folder}: {:?}",
                case.text
            );
            assert_eq!(tokenizer.encode(&case.text).unwrap(), case.input_ids[1..], "{folder}: {:?}", case.text);
        }
    }
}

#[test]
fn every_text_of_the_demo_gets_the_references_ids() {
    let tokenizer = demo_tokenizer();
    let rows = DemoRow::all();
    assert_eq!(rows.len(), 60);
    for row in rows {
        assert_eq!(tokenizer.encode_with_special_tokens(&row.input).unwrap(), row.input_ids, "{:?}", row.input);
    }
}

#[test]
fn streamed_texts_are_the_references_texts() {
    let mut compared = 0;
    for folder in fixture::FOLDERS {
        let tokenizer = fixture_tokenizer(folder);
        for case in Case::all(folder).iter().filter(|case| !case.greedy_text.contains('\u{fffd}')) {
            assert_eq!(streamed(&tokenizer, &case.greedy_ids), case.greedy_text, "{folder}");
            compared += 1;
        }
    }
    let tokenizer = demo_tokenizer();
    for row in DemoRow::all() {
        assert_eq!(streamed(&tokenizer, &row.greedy_ids), row.greedy_text);
        compared += 1;
    }
    assert!(compared > 60, "only {compared} texts were compared");
}

#[test]
fn the_name_of_a_special_token_in_a_text_is_that_token() {
    let tokenizer = demo_tokenizer();
    assert_eq!(tokenizer.encode("<eos>").unwrap(), [1]);
    assert_eq!(tokenizer.encode_with_special_tokens("<bos><start_of_turn>").unwrap(), [2, 2, 5]);
    let ids = tokenizer.encode("stop<eos> here").unwrap();
    assert_eq!(ids.iter().filter(|&&id| tokenizer.is_special(id)).count(), 1);
    assert_eq!(tokenizer.decode(&ids), "stop here");
}

#[test]
fn pieces_are_bytes_of_text() {
    let tokenizer = demo_tokenizer();
    let [space_a] = tokenizer.encode(" a").unwrap()[..] else { panic!("' a' is one piece") };
    assert_eq!(tokenizer.piece_bytes(space_a), Some(&b" a"[..]));
    let bytes = tokenizer.encode("\u{1F9ED}").unwrap();
    let joined: Vec<u8> = bytes.iter().flat_map(|&id| tokenizer.piece_bytes(id).unwrap().to_vec()).collect();
    assert_eq!((bytes.len(), joined.as_slice()), (4, "\u{1F9ED}".as_bytes()));
    assert_eq!(tokenizer.piece_bytes(1), Some(&b"<eos>"[..]));
    assert_eq!((tokenizer.piece_bytes(4096), tokenizer.is_special(4096)), (None, false));
    assert_eq!((tokenizer.vocab_size(), tokenizer.max_id()), (4096, 4095));
}

#[test]
fn an_empty_text_is_its_special_tokens() {
    let tokenizer = demo_tokenizer();
    assert_eq!(tokenizer.encode_with_special_tokens("").unwrap(), [2]);
    assert_eq!(tokenizer.encode("").unwrap(), [0_u32; 0]);
    assert_eq!(tokenizer.fewest_tokens(""), 0);
}

#[test]
fn a_long_text_of_one_character_takes_time_in_proportion() {
    let tokenizer = demo_tokenizer();
    for character in ["a", " ", "\u{2581}", "\u{1F9ED}"] {
        let text = character.repeat(100_000 / character.len());
        let start = Instant::now();
        let ids = tokenizer.encode_with_special_tokens(&text).unwrap();
        let elapsed = start.elapsed();
        println!("{} bytes of {character:?}: {} ids in {elapsed:?}", text.len(), ids.len());
        assert!(elapsed < Duration::from_secs(5), "{character:?}: {elapsed:?}");
        assert!(tokenizer.fewest_tokens(&text) <= ids.len() && tokenizer.fewest_tokens(&text) > 1000);
    }
}

#[test]
fn one_tokenizer_serves_many_threads() {
    let (tokenizer, rows) = (demo_tokenizer(), DemoRow::all());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for row in &rows {
                    assert_eq!(tokenizer.encode_with_special_tokens(&row.input).unwrap(), row.input_ids);
                }
            });
        }
        let mut detokenizer = tokenizer.detokenizer();
        scope.spawn(move || assert_eq!(detokenizer.finish(), ""));
    });
}

#[test]
fn truncation_and_padding_of_the_file_are_not_applied() {
    let mut json = demo_json();
    json["truncation"] = json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<pad>"});
    let tokenizer = read(&json).unwrap();
    let text = &DemoRow::all()[0].input;
    assert_eq!(
        tokenizer.encode_with_special_tokens(text).unwrap(),
        demo_tokenizer().encode_with_special_tokens(text).unwrap()
    );
}

#[test]
fn merges_in_the_older_dialect_mean_the_same() {
    let mut json = demo_json();
    for merge in json["model"]["merges"].as_array_mut().unwrap() {
        *merge = json!(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
    }
    let row = &DemoRow::all()[0];
    assert_eq!(read(&json).unwrap().encode_with_special_tokens(&row.input).unwrap(), row.input_ids);
}

#[test]
fn without_a_piece_for_every_byte_no_bound_is_claimed() {
    assert_eq!(demo_tokenizer().longest_piece_bytes(), Some("<start_of_turn>".len()));
    let mut json = demo_json();
    json["model"]["byte_fallback"] = json!(false);
    assert_eq!(read(&json).unwrap().longest_piece_bytes(), None);
    let mut json = demo_json();
    json["added_tokens"][1]["lstrip"] = json!(true);
    let tokenizer = read(&json).unwrap();
    assert_eq!((tokenizer.longest_piece_bytes(), tokenizer.fewest_tokens("a long text")), (None, 0));
}

/// Every way in which a file was broken here, with a word of the answer.
#[test]
fn a_broken_tokenizer_is_refused_with_its_reason() {
    type Break = fn(&mut Value);
    let breaks: [(&str, Break); 19] = [
        ("model", |json| drop(json.as_object_mut().unwrap().remove("model"))),
        ("vocab", |json| drop(json["model"].as_object_mut().unwrap().remove("vocab"))),
        ("WordPiece", |json| json["model"]["type"] = json!("WordPiece")),
        ("decoder", |json| json["decoder"] = json!({"type": "ByteLevel"})),
        ("decoder", |json| json["decoder"] = json!(null)),
        ("decoder", |json| drop(json["decoder"]["decoders"].as_array_mut().unwrap().pop())),
        ("normalizer", |json| json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ("pre-tokenizer", |json| json["pre_tokenizer"] = json!({"type": "ByteLevel"})),
        ("post-processor", |json| json["post_processor"]["type"] = json!("ByteLevel")),
        ("<bos>", |json| json["post_processor"]["special_tokens"] = json!({})),
        ("template", |json| json["post_processor"]["single"] = json!([])),
        ("\"B\"", |json| json["post_processor"]["single"][1]["Sequence"]["id"] = json!("B")),
        ("merge", |json| json["model"]["merges"][0] = json!(["in", "surmountable"])),
        ("merge", |json| json["model"]["merges"][0] = json!(["in", "surmountable and longer than any piece"])),
        ("merge", |json| json["model"]["merges"][0] = json!(["one", "two", "three"])),
        ("prefix", |json| json["model"]["continuing_subword_prefix"] = json!("##")),
        ("<none>", |json| json["model"]["unk_token"] = json!("<none>")),
        ("4294967295", |json| json["model"]["vocab"]["zzzz"] = json!(u32::MAX)),
        ("cannot have the id", |json| json["added_tokens"][1]["id"] = json!(77)),
    ];
    for (word, break_it) in breaks {
        let mut json = demo_json();
        break_it(&mut json);
        let message = read(&json).map(|_| ()).expect_err(word).to_string();
        assert!(message.contains(word), "{word}: {message}");
    }
    for text in ["", "{", "[]", "null", "\u{0}", "{\"decoder\": [[[["] {
        assert!(Tokenizer::from_bytes(text.as_bytes()).is_err(), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut anywhere or with any byte changed, a file is refused or used, without a panic.
    #[test]
    fn a_damaged_tokenizer_never_panics(place in 0_usize..20_000, byte: u8, cut: bool) {
        let mut json = fixture::bytes("t5gemma-balanced/tokenizer.json");
        let place = place % json.len();
        if cut {
            json.truncate(place);
        } else {
            json[place] = byte;
        }
        if let Ok(tokenizer) = Tokenizer::from_bytes(&json) {
            let ids = tokenizer.encode_with_special_tokens("The quick brown \u{1F98A}<eos> jumps");
            prop_assert!(ids.is_ok());
        }
    }

    #[test]
    fn texts_come_back_as_they_were(text in "\\PC*") {
        let tokenizer = demo_tokenizer();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert!(ids.len() >= tokenizer.fewest_tokens(&text));
        // U+2581 is the tokenizer's own mark for a space.
        prop_assert_eq!(tokenizer.decode(&ids), text.replace('\u{2581}', " "));
    }
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut detokenizer = tokenizer.detokenizer();
    let mut text: String = ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect();
    text.push_str(detokenizer.finish());
    text
}

fn fixture_tokenizer(folder: &str) -> Tokenizer {
    Tokenizer::from_bytes(&fixture::bytes(&format!("{folder}/tokenizer.json"))).unwrap()
}

fn demo_json() -> Value {
    serde_json::from_slice(&Checkpoint::embedded().unwrap().tokenizer_json().unwrap().unwrap()).unwrap()
}

fn demo_tokenizer() -> Tokenizer {
    Tokenizer::from_bytes(&Checkpoint::embedded().unwrap().tokenizer_json().unwrap().unwrap()).unwrap()
}

fn read(json: &Value) -> model::Result<Tokenizer> {
    Tokenizer::from_bytes(json.to_string().as_bytes())
}
