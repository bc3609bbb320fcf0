//! Beginnings of targets over a scripted engine: their log-probabilities apart, and several of one source.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use server::request::GenerationRequest;

use crate::app::{App, START, Setup, ids};
use crate::scripted_engine::generate;

fn watched() -> (App, Arc<Mutex<Vec<GenerationRequest>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tokens, log) = (ids("x"), Arc::clone(&seen));
    let app = App::scripted(Setup::default(), move |request| {
        log.lock().unwrap().push(request.clone());
        generate(request, &tokens)
    });
    (app, seen)
}

async fn answered(app: &App, path: &str, body: Value) -> Value {
    let answer = app.post(path, &body).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn prompt_log_probabilities_have_vllms_form() {
    let (app, seen) = watched();
    let body = json!({"prompt": [5], "decoder_prompt": [START, 9, 10], "prompt_logprobs": 2, "max_tokens": 0});
    let answer = answered(&app, "/v1/completions", body.clone()).await;
    let list = answer["choices"][0]["prompt_logprobs"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]), (3, &Value::Null), "nothing comes before the start token");
    let own = &list[1]["9"];
    assert!(own["logprob"].is_number() && own["rank"].as_u64() >= Some(1) && own["decoded_token"].is_string(), "{own}");
    assert!((2..=3).contains(&list[2].as_object().unwrap().len()), "the token and two alternatives: {}", list[2]);
    assert_eq!((&answer["choices"][0]["logprobs"], &answer["choices"][0]["text"]), (&Value::Null, &json!("")));
    // Beside echoed ones each has as many alternatives as it asks for.
    let mut both = body;
    both["echo"] = json!(true);
    both["logprobs"] = json!(0);
    let answer = answered(&app, "/v1/completions", both).await;
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 2);
    assert_eq!(logprobs["top_logprobs"][0].as_object().unwrap().len(), 1);
    assert!(answer["choices"][0]["prompt_logprobs"][1].as_object().unwrap().len() > 1);
    assert!(seen.lock().unwrap().iter().all(|request| request.prompt_scores.is_some_and(|scores| scores.top == 2)));
}

#[tokio::test]
async fn choices_of_several_beginnings_stand_beginning_by_beginning() {
    let (app, seen) = watched();
    let body = json!({
        "prompt": [5, 6, 7], "decoder_prompt": ["a", "be", "a tool"], "n": 2, "echo": true, "max_tokens": 5,
        "return_token_ids": true,
    });
    let answer = answered(&app, "/v1/completions", body.clone()).await;
    let choices = answer["choices"].as_array().unwrap();
    let texts: Vec<_> = choices.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 6);
    for (index, text) in texts.iter().enumerate() {
        assert!(text.starts_with(["a", "be", "a tool"][index / 2]), "{texts:?}");
        assert_eq!(choices[index]["index"], index);
    }
    assert_eq!(answer["usage"]["prompt_tokens"], 3, "the source counts once");
    let requests = std::mem::take(&mut *seen.lock().unwrap());
    let mut begun: Vec<_> = requests.iter().map(|request| request.decoder_prompt.clone()).collect();
    let mut given: Vec<_> = ["a", "be", "a tool"].map(ids).into();
    begun.sort();
    given.sort();
    assert_eq!(begun, given);
    assert!(requests.iter().all(|request| *request.source == [5, 6, 7] && request.choices == 2));
    let rendered = answered(&app, "/v1/completions/render", body).await;
    assert_eq!(rendered.as_array().unwrap().len(), 3);
    assert_eq!(rendered[1]["decoder_token_ids"], json!([&[START][..], &ids("be")].concat()));
}
