//! `text_offset` where bytes do not make up a character: each token stands in the text where its offset says.

use serde_json::{Value, json};

use crate::app::{App, Setup};
use crate::scripted_engine::generate;

/// Ids of the demo's tokenizer, with the right offset of each.
fn cases() -> Vec<(&'static str, Vec<u32>, Vec<usize>)> {
    vec![
        ("the lead byte of three, then text", vec![1816, 233, 3193], vec![0, 7, 8]),
        ("two bytes of three, then text", vec![233, 157, 3193], vec![0, 0, 2]),
        ("the lead byte, a special token, then text", vec![233, 3, 3193], vec![0, 0, 1]),
        ("the lead byte, a byte that is a letter, then text", vec![233, 72, 3193], vec![0, 1, 2]),
        ("two lead bytes, then text", vec![233, 233, 3193], vec![0, 1, 2]),
        ("a whole character, then text", vec![233, 157, 136, 3193], vec![0, 0, 0, 1]),
    ]
}

fn check(what: &str, choice: &Value, offsets: &[usize]) {
    let log_probs = &choice["logprobs"];
    assert_eq!(
        log_probs["text_offset"].as_array().unwrap()[..offsets.len()],
        *json!(offsets).as_array().unwrap(),
        "{what}"
    );
    let characters: Vec<char> = choice["text"].as_str().unwrap().chars().collect();
    for (name, offset) in log_probs["tokens"].as_array().unwrap().iter().zip(offsets) {
        let (name, rest) = (name.as_str().unwrap(), characters[*offset..].iter().collect::<String>());
        assert!(name.starts_with(['<']) || name.starts_with("bytes:") || rest.starts_with(name), "{what}: {name}");
    }
}

#[tokio::test]
async fn offsets_count_what_stands_for_the_bytes_of_a_character_that_was_cut_off() {
    for (what, ids, offsets) in cases() {
        let forced = App::saying("");
        let body = json!({"prompt": "x", "decoder_prompt": ids, "echo": true, "max_tokens": 0, "logprobs": 0});
        check(what, &forced.completed(body).await["choices"][0], &offsets);
        let generated = App::scripted(Setup::default(), move |request| generate(request, &ids));
        let choice = &generated.completed(json!({"prompt": "x", "logprobs": 0})).await["choices"][0];
        check(what, choice, &offsets);
    }
}

#[tokio::test]
async fn a_character_that_the_decoder_prompt_leaves_open_counts_where_the_text_goes_on() {
    let app = App::scripted(Setup::default(), |request| generate(request, &[3193]));
    let body = |echo| json!({"prompt": "x", "decoder_prompt": [1816, 233], "echo": echo, "logprobs": 0});
    check("with the prompt", &app.completed(body(true)).await["choices"][0], &[0, 7, 8]);
    let without = app.completed(body(false)).await["choices"][0].take();
    check("without it", &without, &[1]);
    assert!(without["text"].as_str().unwrap().starts_with('\u{fffd}'));
}
