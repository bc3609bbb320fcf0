//! Cancelled requests stop, over real sockets.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::next_event;
use crate::app::{App, wait_until};
use crate::demo::rows;

const LONG: u32 = 1000;

#[tokio::test]
async fn a_client_that_hangs_up_gets_its_pages_back_to_the_pool() {
    // With n = 16, two at once, there is work for some seconds.
    let app = App::start("[limits]\nrunning_rows = 2\n");
    let address = app.listen().await;
    let rows = rows();
    let body = |stream: bool| {
        json!({"prompt": rows[8].input, "stream": stream, "n": 16, "ignore_eos": true, "max_tokens": LONG,
            "speculation": "off"})
        .to_string()
    };
    for (stream, cancelled) in [(true, 1), (false, 2)] {
        let steps_before = app.engine_metrics().step_rows.get_sample_count();
        let mut client = TcpStream::connect(address).await.unwrap();
        let body = body(stream);
        let head =
            format!("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        client.write_all((head + &body).as_bytes()).await.unwrap();
        wait_until(|| app.engine_metrics().running_rows.get() == 2).await;
        if stream {
            assert!(client.read(&mut [0; 256]).await.unwrap() > 0, "the stream has begun");
        }
        drop(client);
        app.idle().await;
        let steps = app.engine_metrics().step_rows.get_sample_count() - steps_before;
        assert!(steps < 8 * u64::from(LONG), "{steps} steps: it was generated to its end");
        assert_eq!(app.request_metrics().requests(server::telemetry::Outcome::Cancelled), cancelled);
    }
    let again = app.post(&json!({"prompt": rows[8].input, "max_tokens": 48, "temperature": 0})).await;
    assert_eq!(again.choice().text, rows[8].greedy_text);
}

#[tokio::test]
async fn a_stop_string_ends_its_choice_in_the_engine_too() {
    let app = App::start("[limits]\nrunning_rows = 1\n");
    let row = &rows()[0];
    let (kept, _) = row.greedy_text.rsplit_once(' ').unwrap();
    let stop = &row.greedy_text[kept.len()..];
    let body = json!({"prompt": row.input, "temperature": 0, "ignore_eos": true, "max_tokens": LONG, "n": 8,
        "speculation": "off",
        "stop": [stop, "nothing of the kind"], "return_token_ids": true});
    let choices = app.post(&body).await.choices();
    let choice = &choices[0];
    assert!(choices.len() == 8 && choices.iter().all(|other| other == choice), "{choices:?}");
    assert_eq!((choice.text.as_str(), choice.finish.as_deref()), (kept, Some("stop")));
    assert!(choice.ids.len() < row.greedy_ids.len(), "{:?}", choice.ids);
    app.idle().await;
    let steps = app.engine_metrics().step_rows.get_sample_count();
    assert!(steps < 4 * u64::from(LONG), "{steps} steps: some were generated to their end");
    assert_eq!(app.request_metrics().generated_tokens.get(), 8 * choice.ids.len() as u64);
}

#[tokio::test]
async fn a_stop_string_is_never_sent_in_a_stream_and_ends_one_choice_of_several() {
    let (app, rows) = (App::start(""), rows());
    let prompts = [&rows[0].input, &rows[1].input];
    // From inside a word into the last one.
    let (before_last, _) = rows[0].greedy_text.rsplit_once(' ').unwrap();
    let (kept, stop) = rows[0].greedy_text.split_at(before_last.len() - 3);
    let body = json!({"prompt": prompts, "temperature": 0, "stream": true, "max_tokens": 48, "stop": stop});
    let mut response = app.open(&body).await;
    let mut texts = [String::new(), String::new()];
    loop {
        let event = next_event(response.body_mut()).await;
        let data = event.trim().strip_prefix("data: ").unwrap();
        if data == "[DONE]" {
            break;
        }
        let piece = &serde_json::from_str::<serde_json::Value>(data).unwrap()["choices"][0];
        let text = &mut texts[piece["index"].as_u64().unwrap() as usize];
        text.push_str(piece["text"].as_str().unwrap());
        assert!(kept.starts_with(&texts[0]), "{texts:?}");
    }
    assert_eq!(texts, [kept, rows[1].greedy_text.as_str()]);
    app.idle().await;
}
