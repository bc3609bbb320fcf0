//! Beam search over the whole server: hypotheses, scores, streams, and what is refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{App, wait_until};
use crate::demo::rows;

fn searched(prompt: &[u32]) -> Value {
    json!({"prompt": prompt, "max_tokens": 12, "use_beam_search": true, "n": 3, "best_of": 4, "return_token_ids": true})
}

fn choices(answer: &Value) -> Vec<(Vec<u64>, f64, f64)> {
    let number = |choice: &Value, key: &str| choice[key].as_f64().unwrap_or_else(|| panic!("{key}: {choice}"));
    let one = |choice: &Value| {
        let ids = serde_json::from_value(choice["token_ids"].clone()).unwrap();
        (ids, number(choice, "score"), number(choice, "cumulative_logprob"))
    };
    answer["choices"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn hypotheses_come_best_first_with_their_scores_and_always_the_same() {
    let app = App::start("");
    let source = &rows()[3].input_ids;
    let answer = app.post(&searched(source)).await.json();
    let found = choices(&answer);
    assert_eq!(found.len(), 3);
    assert!(found.is_sorted_by(|better, worse| better.1 >= worse.1), "{found:?}");
    for (ids, score, sum) in &found {
        assert!((sum / ids.len() as f64 - score).abs() < 1e-4, "{found:?}");
    }
    let ends = &app.model().end_tokens;
    for choice in answer["choices"].as_array().unwrap() {
        let ids: Vec<u32> = serde_json::from_value(choice["token_ids"].clone()).unwrap();
        assert_eq!(choice["finish_reason"] == "stop", ends.contains(ids.last().unwrap()), "{choice}");
    }
    let again = app.post(&searched(source)).await.json();
    assert_eq!(choices(&again), found);
    let mut wider = searched(source);
    wider["length_penalty"] = json!(0.0);
    wider["early_stopping"] = json!("never");
    for (_, score, sum) in choices(&app.post(&wider).await.json()) {
        assert!((score - sum).abs() < 1e-6);
    }
}

#[tokio::test]
async fn a_search_for_no_tokens_has_scores_and_usage_too() {
    let app = App::start("");
    for scored in [json!({"prompt_logprobs": 1}), json!({"echo": true}), json!({"echo": true, "logprobs": 0})] {
        let mut body = searched(&rows()[3].input_ids);
        body["max_tokens"] = json!(0);
        body["decoder_prompt"] = json!([5, 6, 7]);
        body.as_object_mut().unwrap().extend(scored.as_object().unwrap().clone());
        let answer = app.post(&body).await.json();
        assert_eq!(answer["usage"]["completion_tokens"], 0, "{answer}");
        assert_eq!(answer["choices"].as_array().unwrap().len(), 3, "{answer}");
        for choice in answer["choices"].as_array().unwrap() {
            assert_eq!([&choice["score"], &choice["cumulative_logprob"]], [&json!(0.0), &json!(0.0)], "{choice}");
            assert_eq!(choice["finish_reason"], "length");
        }
    }
}

#[tokio::test]
async fn what_a_search_does_not_give_is_refused_by_name() {
    let app = App::start("");
    for (field, value, param) in [
        ("temperature", json!(0.7), "temperature"),
        ("top_k", json!(5), "top_k"),
        ("top_p", json!(0.5), "top_p"),
        ("best_of", json!(1), "best_of"),
        ("best_of", json!(2), "best_of"),
        ("best_of", json!(17), "best_of"),
        ("length_penalty", json!(9), "length_penalty"),
    ] {
        let mut body = searched(&[5, 6]);
        body[field] = value;
        app.post(&body).await.error(400, Some(param), None);
    }
    let mut neutral = searched(&[5, 6]);
    neutral["temperature"] = json!(0);
    assert_eq!(choices(&app.post(&neutral).await.json()).len(), 3);
}

/// Texts of the choices of a stream, and the scores in their last pieces.
fn streamed(messages: &[Value], count: usize) -> Vec<(String, f64)> {
    let mut found = vec![(String::new(), f64::NAN); count];
    for choice in messages.iter().flat_map(|message| message["choices"].as_array().unwrap()) {
        let (text, score) = &mut found[choice["index"].as_u64().unwrap() as usize];
        text.push_str(choice["text"].as_str().unwrap());
        assert_eq!(choice["score"].is_number(), choice["finish_reason"].is_string(), "{choice}");
        *score = choice["score"].as_f64().unwrap_or(*score);
    }
    found
}

#[tokio::test]
async fn a_stream_gives_the_texts_and_scores_of_the_whole_answer() {
    let app = App::start("");
    for row in &rows()[..4] {
        let mut body = searched(&row.input_ids);
        let whole = app.post(&body).await.json();
        body["stream"] = json!(true);
        let messages = app.post(&body).await.messages();
        let expected: Vec<(String, f64)> = whole["choices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|choice| (choice["text"].as_str().unwrap().to_owned(), choice["score"].as_f64().unwrap()))
            .collect();
        assert_eq!(streamed(&messages, 3), expected);
    }
}

#[tokio::test]
async fn log_probabilities_of_hypotheses_are_those_of_the_same_targets_scored() {
    let app = App::start("");
    let source = &rows()[3].input_ids;
    let mut body = searched(source);
    body["logprobs"] = json!(2);
    let answer = app.post(&body).await.json();
    for choice in answer["choices"].as_array().unwrap() {
        let scored = json!({
            "prompt": source, "decoder_prompt": choice["token_ids"], "max_tokens": 0, "echo": true, "logprobs": 2,
        });
        let scored = app.post(&scored).await.json();
        let log_probs = |choice: &Value| -> Vec<f64> {
            serde_json::from_value(choice["logprobs"]["token_logprobs"].clone()).unwrap()
        };
        let (own, again) = (log_probs(choice), log_probs(&scored["choices"][0]));
        assert_eq!((own.len(), own.len()), (choice["token_ids"].as_array().unwrap().len(), again.len()));
        assert!(own.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-4), "{own:?} {again:?}");
        let sum: f64 = own.iter().sum();
        assert!((sum - choice["cumulative_logprob"].as_f64().unwrap()).abs() < 1e-3, "{choice}");
        let [tops, top] = [choice, &scored["choices"][0]].map(|choice| choice["logprobs"]["top_logprobs"].clone());
        let names = |tops: &Value| -> Vec<Vec<String>> {
            let of = |top: &Value| top.as_object().unwrap().keys().cloned().collect();
            tops.as_array().unwrap().iter().map(of).collect()
        };
        assert_eq!(names(&tops), names(&top));
    }
    let mut streamed = searched(source);
    (streamed["logprobs"], streamed["stream"]) = (json!(2), json!(true));
    let messages = app.post(&streamed).await.messages();
    let told: Vec<f64> = messages
        .iter()
        .flat_map(|message| message["choices"].as_array().unwrap())
        .filter(|choice| choice["index"] == 1)
        .flat_map(|choice| choice["logprobs"]["token_logprobs"].as_array().cloned().unwrap_or_default())
        .map(|log_prob| log_prob.as_f64().unwrap())
        .collect();
    let whole = answer["choices"][1]["logprobs"]["token_logprobs"].clone();
    assert_eq!(told, serde_json::from_value::<Vec<f64>>(whole).unwrap());
}

#[tokio::test]
async fn the_number_of_log_probabilities_that_a_search_holds_is_bounded() {
    let app = App::start("[limits]\ntotal_logprobs = 1000\n");
    let mut body = searched(&[5, 6]);
    (body["logprobs"], body["best_of"], body["max_tokens"]) = (json!(3), json!(16), json!(7));
    // 3 choices and 32 lines of 7 tokens with 4 numbers each.
    assert_eq!(choices(&app.post(&body).await.json()).len(), 3);
    body["max_tokens"] = json!(8);
    let message = app.post(&body).await.error(400, Some("logprobs"), None);
    assert!(message.contains("1120 log-probabilities"), "{message}");
}

/// Texts, reasons and ids of the choices of an answer.
fn ended(answer: &Value) -> Vec<(String, String, Vec<u64>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one = |choice: &Value| {
        let ids = serde_json::from_value(choice["token_ids"].clone()).unwrap();
        (text(&choice["text"]), text(&choice["finish_reason"]), ids)
    };
    answer["choices"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn a_stop_string_ends_a_hypothesis_whose_text_is_cut_there() {
    let app = App::start("");
    let mut cut = 0;
    for row in &rows()[..6] {
        let mut body = searched(&row.input_ids);
        body["max_tokens"] = json!(30);
        let free = app.post(&body).await.json();
        let text = free["choices"][0]["text"].as_str().unwrap().to_owned();
        let stop: String = text.chars().skip(9).take(2).collect();
        body["stop"] = json!([stop]);
        body["early_stopping"] = json!("never");
        let answer = app.post(&body).await.json();
        for ((text, reason, ids), (_, score, sum)) in ended(&answer).into_iter().zip(choices(&answer)) {
            assert!(!text.contains(&stop), "{text:?} has {stop:?}");
            assert!((sum / ids.len() as f64 - score).abs() < 1e-4);
            let decoded = app.post_to("/detokenize", &json!({"tokens": ids})).await.json();
            let decoded = decoded["prompt"].as_str().unwrap().to_owned();
            if let Some(at) = decoded.find(&stop) {
                cut += 1;
                assert_eq!((text.as_str(), reason.as_str()), (&decoded[..at], "stop"));
                let before = app.post_to("/detokenize", &json!({"tokens": ids[..ids.len() - 1]})).await.json();
                assert!(!before["prompt"].as_str().unwrap().contains(&stop), "its last token completes the string");
            }
        }
        body["include_stop_str_in_output"] = json!(true);
        let kept = app.post(&body).await.json();
        for ((text, _, ids), (short, _, same)) in ended(&kept).into_iter().zip(ended(&answer)) {
            assert_eq!(ids, same);
            assert!(text == short || text == format!("{short}{stop}") || text.starts_with(&short), "{text:?}");
        }
        body["stream"] = json!(true);
        let messages = app.post(&body).await.messages();
        let whole: Vec<String> = ended(&kept).into_iter().map(|(text, ..)| text).collect();
        assert_eq!(streamed(&messages, 3).into_iter().map(|(text, _)| text).collect::<Vec<_>>(), whole);
    }
    assert!(cut > 5, "{cut} hypotheses were cut");
}

#[tokio::test]
async fn a_search_that_is_wider_than_the_rows_of_the_server_is_refused() {
    let app = App::start("[limits]\nrunning_rows = 3\n");
    let message = app.post(&searched(&[5, 6])).await.error(400, Some("best_of"), None);
    assert!(message.contains("4 beams is wider than the 3 rows"), "{message}");
}

#[tokio::test]
async fn a_search_takes_as_many_places_in_the_queue_as_it_is_wide() {
    let limits = "[limits]\nrunning_rows = 16\nqueued_rows = 16\ntotal_choices = 16\nprompts = 16\n";
    let app = App::start(limits);
    let mut body = searched(&[5, 6]);
    (body["n"], body["best_of"], body["ignore_eos"]) = (json!(1), json!(16), json!(true));
    body["max_tokens"] = json!(200);
    let running = app.spawn(&body);
    wait_until(|| app.engine_metrics().running_rows.get() == 16 && app.engine().free_slots() == 16).await;
    let waiting = app.spawn(&body);
    wait_until(|| app.engine().free_slots() == 0).await;
    app.post(&body).await.error(429, None, Some("overloaded"));
    running.abort();
    waiting.abort();
    app.idle().await;
    assert_eq!(app.engine().free_slots(), 16);
    assert_eq!(choices(&app.post(&searched(&[5, 6])).await.json()).len(), 3, "the server goes on");
}

#[tokio::test]
async fn a_flood_of_the_widest_searches_is_answered_or_refused_and_harms_nobody() {
    let limits = "[limits]\nrunning_rows = 32\nqueued_rows = 64\ntotal_choices = 16\nprompts = 16\n";
    let app = App::start(limits);
    let plain = |row: usize| json!({"prompt": rows()[row].input_ids, "max_tokens": 12, "temperature": 0});
    let mut alone = Vec::new();
    for row in 0..4 {
        alone.push(app.post(&plain(row)).await.choice().text);
    }
    let mut wide = searched(&rows()[0].input_ids);
    (wide["n"], wide["best_of"], wide["ignore_eos"]) = (json!(16), json!(16), json!(true));
    (wide["max_tokens"], wide["logprobs"], wide["stop"]) = (json!(40), json!(2), json!("qqq"));
    let flood: Vec<_> = (0..40).map(|_| app.spawn(&wide)).collect();
    wait_until(|| app.engine_metrics().running_rows.get() == 32).await;
    // A request that is told to come again does so, and gets its turn before the searches are over or after.
    for (row, text) in alone.iter().enumerate() {
        let mut answer = app.post(&plain(row)).await;
        while answer.status == 429 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = app.post(&plain(row)).await;
        }
        assert_eq!(&answer.choice().text, text);
    }
    let mut answered = 0;
    for one in flood {
        let answer = one.await.unwrap();
        if answer.status == 200 {
            answered += 1;
            assert_eq!(choices(&answer.json()).len(), 16);
        } else {
            assert_eq!(answer.status, 429, "{}", answer.text);
        }
    }
    assert!(answered >= 2, "{answered} searches");
    app.idle().await;
    assert_eq!((app.engine().free_slots(), app.engine_metrics().running_rows.get()), (64, 0));
    assert_eq!(app.post(&plain(1)).await.choice().text, alone[1]);
}
