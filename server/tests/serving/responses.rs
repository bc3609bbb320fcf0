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
