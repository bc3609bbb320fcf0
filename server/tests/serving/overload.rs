//! More requests than the server takes, and its shutdown while one is on its way.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answer::next_event;
use crate::app::{App, wait_until};
use crate::demo::rows;

fn long(prompt: &str) -> Value {
    json!({"prompt": prompt, "stream": true, "ignore_eos": true, "max_tokens": 900, "temperature": 0,
        "speculation": "off"})
}

#[tokio::test]
async fn a_full_queue_is_answered_429_at_once_while_streams_run_and_the_server_recovers() {
    let app = App::start("[limits]\nqueued_rows = 16\nprompts = 2\ntotal_choices = 16\nrunning_rows = 3\n");
    let rows = rows();
    // One call may have all of so few rows. Three of its choices run until it is cancelled; four of them and both other
    // requests fill the queue.
    let mut body = long(&rows[0].input);
    (body["n"], body["logprobs"]) = (json!(7), json!(20));
    let mut running = app.open(&body).await;
    next_event(running.body_mut()).await;
    wait_until(|| app.engine().free_slots() == 12).await;
    let waiting = [1, 2].map(|row| {
        let mut body = long(&rows[row].input);
        (body["n"], body["max_tokens"]) = (json!(6), json!(100));
        app.spawn(&body)
    });
    wait_until(|| app.engine().free_slots() == 0).await;
    // A text this long takes its time to tokenise; nobody begins with it.
    let large = "reads and writes calendar files ".repeat(300);
    for prompt in [json!("short"), json!(large), json!([1, 2, 3])] {
        let began = Instant::now();
        let answer = app.post(&json!({"prompt": prompt})).await;
        assert!(began.elapsed() < Duration::from_millis(500), "at once, not after {:?}", began.elapsed());
        answer.error(429, None, Some("overloaded"));
        assert_eq!(answer.headers["retry-after"], "1");
    }
    assert_eq!((app.engine_metrics().running_rows.get(), app.engine().free_slots()), (3, 0));
    next_event(running.body_mut()).await;
    drop(running);
    let [one, other] = waiting;
    other.abort();
    let finished = one.await.unwrap().choices();
    assert!(finished.len() == 6 && finished.iter().all(|choice| choice.finish.as_deref() == Some("length")));
    let answer = app.post(&json!({"prompt": rows[3].input, "max_tokens": 48, "temperature": 0})).await;
    assert_eq!(answer.choice().text, rows[3].greedy_text);
    app.idle().await;
    let text = app.api.entrance.metrics.text();
    for outcome in ["overloaded\"} 3", "cancelled\"} 2", "completed\"} 2"] {
        assert!(text.contains(&format!("encdec_requests_total{{model=\"demo\",outcome=\"{outcome}\n")), "{text}");
    }
}

#[tokio::test]
async fn a_request_that_is_being_tokenised_at_shutdown_is_answered_and_a_later_one_refused() {
    let (app, engine) = App::with_engine("[server]\ntokenizer_threads = 1\n");
    let (release, blocked) = channel::<()>();
    let pool = app.model().tokenizing.clone();
    let busy = tokio::spawn(async move { pool.run(move || blocked.recv()).await });
    let row = &rows()[5];
    let early = app.spawn(&json!({"prompt": row.input, "max_tokens": 48, "temperature": 0}));
    let places = app.engine().limits().queued_rows as usize;
    wait_until(|| app.engine().free_slots() == places - 1).await;
    app.engine().drain();
    let late = app.post(&json!({"prompt": "late"})).await;
    late.error(503, None, Some("shutting_down"));
    assert_eq!(late.headers["retry-after"], "1");
    tokio::time::sleep(Duration::from_millis(30)).await;
    release.send(()).unwrap();
    assert_eq!(early.await.unwrap().choice().text, row.greedy_text);
    busy.await.unwrap().unwrap().unwrap();
    tokio::task::spawn_blocking(|| crate::fake::join(engine)).await.unwrap();
}
