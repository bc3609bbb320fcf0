//! Responses over the demo: the texts of chat, whole and streamed.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::App;
use crate::demo::{MAX_TOKENS, rows};

async fn ask(app: &App, body: &Value) -> Answer {
    let request = Request::post("/v1/responses").body(Body::from(body.to_string())).unwrap();
    let answer = Answer::read(app.send(request).await).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer
}

#[tokio::test]
async fn the_demo_answers_an_input_as_it_answers_a_prompt() {
    let app = App::start("");
    for row in rows().iter().take(3) {
        let items = json!([
            {"role": "user", "content": "Hello"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello!"}]},
            {"role": "user", "content": [{"type": "input_text", "text": row.input}]},
        ]);
        let mut body = json!({"input": items, "temperature": 0, "max_output_tokens": MAX_TOKENS});
        let response = ask(&app, &body).await.json();
        assert_eq!(response["output"][0]["content"][0]["text"], row.greedy_text.as_str());
        assert_eq!(response["usage"]["input_tokens"], json!(row.input_ids.len()));
        body["stream"] = json!(true);
        let events = ask(&app, &body).await.text;
        let data: Vec<Value> = events
            .lines()
            .filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap()))
            .collect();
        let deltas: String = data.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(deltas, row.greedy_text);
        assert_eq!(data.last().unwrap()["response"]["output"][0]["content"][0]["text"], row.greedy_text.as_str());
    }
    app.idle().await;
}

#[tokio::test]
async fn the_best_hypothesis_of_a_search_is_the_text_of_a_response() {
    let app = App::start("");
    let row = &rows()[3];
    let mut body = json!({
        "input": row.input, "max_output_tokens": 12, "use_beam_search": true, "best_of": 4, "length_penalty": 0.5,
        "include": ["message.output_text.logprobs"], "top_logprobs": 1,
    });
    let response = ask(&app, &body).await.json();
    let prompt = json!({
        "prompt": row.input, "max_tokens": 12, "use_beam_search": true, "best_of": 4, "length_penalty": 0.5,
    });
    let completion = app.post(&prompt).await.json()["choices"][0].clone();
    let message = &response["output"][0];
    assert_eq!(message["content"][0]["text"], completion["text"]);
    assert_eq!((&message["score"], message["exact"].is_null()), (&completion["score"], true));
    assert_eq!(message["cumulative_logprob"], completion["cumulative_logprob"]);
    let tokens = message["content"][0]["logprobs"].as_array().unwrap();
    let sum: f64 = tokens.iter().map(|token| token["logprob"].as_f64().unwrap()).sum();
    assert!((sum - message["cumulative_logprob"].as_f64().unwrap()).abs() < 1e-3);
    body["stream"] = json!(true);
    let events = ask(&app, &body).await.text;
    let last = events.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap().to_owned();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["response"]["output"][0]["score"], message["score"]);
    assert_eq!(last["response"]["output"][0]["content"], message["content"]);
    for (field, value) in [("temperature", json!(0.5)), ("best_of", json!(17)), ("best_of", json!(1)), ("n", json!(2))]
    {
        let mut wrong = body.clone();
        wrong[field] = value;
        app.post_to("/v1/responses", &wrong).await.error(400, Some(field), None);
    }
    let unsearched = json!({"input": "p", "best_of": 2});
    app.post_to("/v1/responses", &unsearched).await.error(400, Some("best_of"), None);
    app.idle().await;
}
