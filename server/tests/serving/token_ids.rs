//! The demo served without its tokenizer, and texts that name special tokens served with it.

use serde_json::json;

use crate::app::App;
use crate::demo::rows;

#[tokio::test]
async fn a_model_without_tokenizer_takes_ids_and_gives_ids() {
    let app = App::start("[model]\ntokenizer = \"none\"\n");
    let row = &rows()[3];
    let body = json!({"prompt": row.input_ids, "max_tokens": 48, "temperature": 0, "return_token_ids": true,
        "logprobs": 1});
    let choice = app.post(&body).await.choice();
    let expected: Vec<u64> = row.greedy_ids.iter().map(|&id| u64::from(id)).collect();
    assert_eq!((choice.ids.as_slice(), choice.text.as_str()), (expected.as_slice(), ""));
    assert_eq!(choice.tokens[0].0, json!(format!("token_id:{}", expected[0])));
    assert_eq!(choice.finish.as_deref(), Some("stop"));
    for (body, param) in [
        (json!({"prompt": row.input}), "prompt"),
        (json!({"prompt": [row.input]}), "prompt"),
        (json!({"prompt": row.input_ids, "decoder_prompt": "a"}), "decoder_prompt"),
        (json!({"prompt": row.input_ids, "stop": "a"}), "stop"),
    ] {
        let message = app.post(&body).await.error(400, Some(param), None);
        assert!(message.contains("tokenizer"), "{message}");
    }
}

#[tokio::test]
async fn names_of_special_tokens_in_a_text_are_parsed_as_those_tokens() {
    let app = App::start("");
    let ids = async |prompt: &str| {
        let body = json!({"prompt": prompt, "max_tokens": 1, "return_token_ids": true});
        app.post(&body).await.choice().prompt_ids
    };
    let tokenizer = app.model().tokenizer.clone().unwrap();
    let (end, turn) = (1, u64::from(tokenizer.encode("<start_of_turn>").unwrap()[0]));
    assert!(tokenizer.is_special(turn as u32));
    assert_eq!(ids("a<eos>").await, [ids("a").await, vec![end]].concat());
    let turns = ids("<start_of_turn>user").await;
    assert_eq!((turns[0], turns[1]), (2, turn), "the start token, then the turn's: {turns:?}");
    assert_eq!(turns.iter().filter(|&&id| id == turn).count(), 1);
    // In a forced beginning as well: after an end token nothing is left to score but what follows it.
    let body = json!({"prompt": "a", "decoder_prompt": "b<eos>", "echo": true, "logprobs": 0, "max_tokens": 0});
    let choice = app.post(&body).await.choice();
    assert_eq!(choice.tokens.last().unwrap().0, json!("<eos>"));
    assert_eq!(choice.text, "b<eos>");
}

#[tokio::test]
async fn pad_ids_in_a_source_are_tokens_like_any_other() {
    let (app, row) = (App::start(""), &rows()[2]);
    let pad = app.model().tokenizer.clone().unwrap().encode("<pad>").unwrap();
    let score = async |prompt: &[u32]| {
        let body = json!({"prompt": prompt, "decoder_prompt": row.greedy_ids, "echo": true, "logprobs": 0,
            "max_tokens": 0});
        let answer = app.post(&body).await;
        assert_eq!(answer.usage()["prompt_tokens"], prompt.len());
        answer.choice().log_probs
    };
    let (plain, padded) = (score(&row.input_ids).await, score(&[&row.input_ids[..], &pad, &pad].concat()).await);
    let differences = plain.iter().zip(&padded).map(|(plain, padded)| (plain - padded).abs());
    assert!(differences.sum::<f64>() > 1e-3, "they are encoded and attended to");
}
