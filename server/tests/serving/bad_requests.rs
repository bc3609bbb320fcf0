//! Bad input of every kind against the whole server: a clear answer each, and nobody else notices.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::Method;
use reqwest::Client;
use serde_json::{Value, json};
use server::telemetry::Outcome;
use tokio::sync::oneshot;

use crate::app::App;
use crate::demo::rows;

/// Longest silence between two tokens of a stream that may come of what others send. A step takes a millisecond; what
/// is refused here takes seconds wherever it is not refused soon enough.
const STALL: Duration = Duration::from_millis(300);

/// A request that is refused: what is sent, and the status, `param` and `code` of its answer.
struct Case {
    method: Method,
    path: &'static str,
    body: Vec<u8>,
    expected: (u16, Option<&'static str>, Option<&'static str>),
}

fn case(
    method: Method,
    path: &'static str,
    body: impl Into<Vec<u8>>,
    expected: (u16, Option<&'static str>, Option<&'static str>),
) -> Case {
    Case { method, path, body: body.into(), expected }
}

fn completion(body: impl Into<Vec<u8>>, expected: (u16, Option<&'static str>, Option<&'static str>)) -> Case {
    case(Method::POST, "/v1/completions", body, expected)
}

const TOO_LONG: Option<&str> = Some("context_length_exceeded");

/// Bodies of which one field is at fault: the field, its value, and the `param` and `code` of the 400.
fn fields() -> Vec<(&'static str, Value, &'static str, Option<&'static str>)> {
    vec![
        ("prompt", json!(7), "prompt", None),
        ("prompt", json!([]), "prompt", None),
        ("prompt", json!([1, 4096]), "prompt", None),
        ("prompt", json!([[1], [-1]]), "prompt", None),
        ("prompt", json!(vec!["a"; 65]), "prompt", None),
        ("prompt", json!(vec![9; 1025]), "prompt", TOO_LONG),
        ("prompt", json!("many words make many tokens ".repeat(300)), "prompt", TOO_LONG),
        ("decoder_prompt", json!([4096]), "decoder_prompt", None),
        ("decoder_prompt", json!(vec![9; 1020]), "decoder_prompt", TOO_LONG),
        ("decoder_prompt", json!({"a": 1}), "decoder_prompt", None),
        ("max_tokens", json!(0), "max_tokens", None),
        ("max_tokens", json!(-1), "max_tokens", None),
        ("max_tokens", json!(1.5), "max_tokens", None),
        ("max_tokens", json!(1025), "max_tokens", TOO_LONG),
        ("min_tokens", json!(17), "min_tokens", None),
        ("temperature", json!(-0.1), "temperature", None),
        ("temperature", json!("hot"), "temperature", None),
        ("top_p", json!(-0.1), "top_p", None),
        ("top_p", json!(1.01), "top_p", None),
        ("top_k", json!(-2), "top_k", None),
        ("min_p", json!(-0.5), "min_p", None),
        ("seed", json!(1e30), "seed", None),
        ("n", json!(0), "n", None),
        ("n", json!(17), "n", None),
        ("logprobs", json!(21), "logprobs", None),
        ("stop", json!(""), "stop", None),
        ("stop", json!(vec!["a"; 17]), "stop", None),
        ("stop", json!([1]), "stop", None),
        ("stream", json!("yes"), "stream", None),
        ("stream_options", json!({"include_usage": true}), "stream_options", None),
        ("echo", json!(1), "echo", None),
        ("logit_bias", json!({"5": 101}), "logit_bias", None),
        ("logit_bias", json!({"4096": 1}), "logit_bias", None),
        ("frequency_penalty", json!(2.5), "frequency_penalty", None),
        ("repetition_penalty", json!(0), "repetition_penalty", None),
        ("bad_words", json!([""]), "bad_words", None),
        ("best_of", json!(0), "best_of", None),
        ("use_beam_search", json!(1), "use_beam_search", None),
        ("max_new_tokens", json!(5), "max_new_tokens", None),
    ]
}

fn cases() -> Vec<Case> {
    let field = |(name, value, param, code): (&str, Value, _, _)| {
        let mut body = json!({"prompt": "p"});
        body[name] = value;
        completion(body.to_string(), (400, Some(param), code))
    };
    let mut cases: Vec<Case> = fields().into_iter().map(field).collect();
    let nested = format!("{{\"prompt\": {}", "[".repeat(100_000));
    cases.extend([
        completion("{}", (400, Some("prompt"), None)),
        completion("", (400, None, None)),
        completion("[1, 2]", (400, None, None)),
        completion("{\"prompt\": \"a\"", (400, None, None)),
        completion(b"{\"prompt\": \"\xff\xfe\"}".as_slice(), (400, None, None)),
        completion("{\"prompt\": \"\\ud800\"}", (400, None, None)),
        completion(nested, (400, None, None)),
        completion("{\"prompt\": \"\", \"add_special_tokens\": false}", (400, Some("prompt"), None)),
        completion("{\"prompt\": \"p\", \"model\": \"gpt-4\"}", (404, Some("model"), Some("model_not_found"))),
        case(Method::GET, "/v1/models/gpt-4", "", (404, Some("model"), Some("model_not_found"))),
        case(Method::POST, "/v1/unknown", "{}", (404, None, Some("unknown_url"))),
        case(Method::GET, "/v1/completions", "", (405, None, Some("method_not_supported"))),
        case(Method::DELETE, "/v1/models", "", (405, None, Some("method_not_supported"))),
    ]);
    cases
}

/// Requests that cost the most to refuse.
fn heavy() -> Vec<Case> {
    let prompt = |text: String| json!({"prompt": text}).to_string();
    let spaced = format!("{}\"prompt\": \"p\"}}", "{".to_owned() + &" ".repeat(5 << 20));
    vec![
        completion(prompt("a".repeat(1 << 20)), (400, Some("prompt"), TOO_LONG)),
        completion(prompt(" ".repeat(1 << 20)), (400, Some("prompt"), TOO_LONG)),
        completion(prompt("\u{1F600}".repeat(1 << 18)), (400, Some("prompt"), TOO_LONG)),
        completion(prompt("<eos>".repeat(200_000)), (400, Some("prompt"), TOO_LONG)),
        completion(json!({"prompt": vec![9; 1 << 20]}).to_string(), (400, Some("prompt"), TOO_LONG)),
        completion(json!({"prompt": vec![json!([]); 1 << 20]}).to_string(), (400, Some("prompt"), None)),
        completion(
            json!({"prompt": "p", "decoder_prompt": "b".repeat(1 << 20)}).to_string(),
            (400, Some("decoder_prompt"), TOO_LONG),
        ),
        completion(spaced, (413, None, Some("request_too_large"))),
    ]
}

/// Sends all of `cases`, one after the other, and checks the answers.
async fn send(address: SocketAddr, cases: &[Case]) {
    let client = Client::new();
    for Case { method, path, body, expected } in cases {
        let sent = String::from_utf8_lossy(&body[..body.len().min(80)]);
        let request = client.request(method.clone(), format!("http://{address}{path}")).body(body.clone());
        let answer = request.send().await.unwrap_or_else(|error| panic!("{sent}: {error}"));
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap();
        let error = &answer["error"];
        let got = (status, error["param"].as_str(), error["code"].as_str());
        assert_eq!(got, *expected, "{sent}: {answer}");
        assert!(!error["message"].as_str().unwrap().is_empty() && error["type"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn every_bad_request_gets_its_own_clear_answer() {
    let app = App::start("");
    let (address, cases) = (app.listen().await, cases());
    send(address, &cases).await;
    assert_eq!(app.engine_metrics().encoder_runs.get(), 0, "none of them reached the model");
    let all_slots = app.engine().limits().queued_rows as usize;
    assert_eq!(app.engine().free_slots(), all_slots);
    // What is no completion request is not counted as one.
    assert_eq!(app.request_metrics().requests(Outcome::Refused), cases.len() as u64 - 4);
    assert_eq!(app.request_metrics().requests(Outcome::Failed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_stream_does_not_feel_the_heaviest_bad_requests() {
    let app = App::start("");
    let (address, mut heavy) = (app.listen().await, heavy());
    // The longest text of one character that is tokenised before it is known to be too long.
    let tokenizer = app.model().tokenizer.clone().unwrap();
    let longest = tokenizer.longest_piece_bytes().unwrap() * app.model().limits().source_tokens;
    let text = json!({"prompt": "a".repeat(longest)}).to_string();
    heavy.extend((0..3).map(|_| completion(text.clone(), (400, Some("prompt"), TOO_LONG))));
    let (stop, stopped) = oneshot::channel();
    let stream = tokio::spawn(watch(address, stopped));
    let began = Instant::now();
    send(address, &heavy).await;
    let took = began.elapsed();
    stop.send(()).unwrap();
    let (tokens, longest_gap) = stream.await.unwrap();
    assert!(tokens > 0 && longest_gap < STALL, "{tokens} tokens, once none for {longest_gap:?}, in {took:?}");
    assert_eq!(app.request_metrics().requests(Outcome::Refused), heavy.len() as u64);
}

/// Reads one stream after the other until it is stopped: how many tokens came, and the longest time without one.
async fn watch(address: SocketAddr, mut stopped: oneshot::Receiver<()>) -> (usize, Duration) {
    let (client, row) = (Client::new(), &rows()[0]);
    // With their ids, tokens without text are sent as well.
    let body = json!({"prompt": row.input, "stream": true, "ignore_eos": true, "temperature": 0, "max_tokens": 1000,
        "speculation": "off",
        "return_token_ids": true});
    let (mut tokens, mut longest_gap) = (0, Duration::ZERO);
    loop {
        let request = client.post(format!("http://{address}/v1/completions")).json(&body);
        let mut answer = request.send().await.unwrap();
        let mut last = Instant::now();
        while let Some(_piece) = answer.chunk().await.unwrap() {
            tokens += 1;
            longest_gap = longest_gap.max(last.elapsed());
            last = Instant::now();
            if stopped.try_recv().is_ok() {
                return (tokens, longest_gap);
            }
        }
    }
}
