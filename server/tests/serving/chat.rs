//! Chat over the demo: its own template, another one, none, and one that cannot be used.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::config::{Config, Layer};
use server::loading::load;

use crate::answer::Answer;
use crate::app::App;
use crate::demo::{MAX_TOKENS, rows};

async fn chat(app: &App, body: &Value) -> Value {
    let request = Request::post("/v1/chat/completions").body(Body::from(body.to_string())).unwrap();
    let answer = Answer::read(app.send(request).await).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer.json()
}

fn settings(template: &str) -> String {
    format!("[model]\nchat_template = {template:?}\n")
}

#[tokio::test]
async fn the_demo_answers_the_last_message_of_the_user_as_it_answers_a_prompt() {
    let app = App::start("");
    for row in rows().iter().take(4) {
        let messages = json!([
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": row.input},
        ]);
        let answer = chat(&app, &json!({"messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS})).await;
        assert_eq!(answer["choices"][0]["message"]["content"], row.greedy_text.as_str());
        assert_eq!(answer["usage"]["prompt_tokens"], json!(row.input_ids.len()));
    }
    app.idle().await;
}

#[tokio::test]
async fn a_begun_answer_is_continued_as_a_decoder_prompt_is() {
    let app = App::start("");
    let row = &rows()[0];
    let body = json!({
        "messages": [{"role": "user", "content": row.input}, {"role": "assistant", "content": "library"}],
        "continue_final_message": true, "temperature": 0, "max_tokens": 16,
    });
    let completion = json!({"prompt": row.input, "decoder_prompt": "library", "temperature": 0, "max_tokens": 16});
    let expected = app.post(&completion).await.json();
    assert_eq!(chat(&app, &body).await["choices"][0]["message"]["content"], expected["choices"][0]["text"]);
}

#[tokio::test]
async fn another_template_or_the_plain_form_is_used_where_the_settings_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.jinja");
    std::fs::write(&file, "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}").unwrap();
    let app = App::start(&settings(file.to_str().unwrap()));
    let body = json!({"messages": [{"role": "user", "content": "a tool"}], "max_tokens": 1, "return_token_ids": true});
    let ids = |text: &str| app.model().tokenizer.as_ref().unwrap().encode(text).unwrap();
    assert_eq!(chat(&app, &body).await["prompt_token_ids"], json!(ids("<bos>a tool<eos>")));
    let plain = App::start(&settings("none"));
    assert_eq!(chat(&plain, &body).await["prompt_token_ids"], json!(ids("<bos>a tool")));
}

#[test]
fn a_template_that_cannot_be_used_is_told_at_the_start_with_its_line_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.jinja");
    std::fs::write(&file, "one\n{% for %}").unwrap();
    let error = |template: &str| {
        let config = Config::from_layers(vec![Layer::parse("test", &settings(template)).unwrap()]).unwrap();
        load(&config).err().expect("it is refused").to_string()
    };
    let broken = error(file.to_str().unwrap());
    assert!(
        broken.contains("chat.jinja") && broken.contains("chat:2") && broken.contains("--chat-template"),
        "{broken}"
    );
    assert!(error("/nowhere/chat.jinja").contains("/nowhere/chat.jinja"));
}
