//! Answers that are not whole are counted by class, and decide the exit code.

use std::time::Duration;

use crate::mock::{Lack, Mock, Script};
use crate::program::run;

fn class(lack: Lack, further: &[&str]) -> (i32, String) {
    let mock = Mock::start(Script { lack, ..Script::default() });
    let flags = ["--url", &mock.url(), "--model", "mock", "--concurrency", "2", "--requests", "4"];
    let ran = run(&[&flags[..], further].concat());
    assert_eq!((ran.figure("completed"), ran.figure("failed")), (0.0, 4.0), "{lack:?}: {}", ran.figures);
    (ran.code, ran.figures["errors"][0]["class"].as_str().unwrap().to_owned())
}

#[test]
fn every_lack_is_counted_by_its_class() {
    for (lack, expected) in [
        (Lack::Done, "cut"),
        (Lack::Rest, "cut"),
        (Lack::FinishReason, "unfinished"),
        (Lack::Json, "unparseable"),
        (Lack::Status, "status_429"),
    ] {
        assert_eq!(class(lack, &[]), (1, expected.to_owned()), "{lack:?}");
    }
}

#[test]
fn an_answer_that_lacks_a_choice_is_not_whole() {
    for flags in [&["--extra", "{\"n\": 3}"][..], &["--beams", "2"], &["--endpoint", "embeddings"]] {
        // Without any vector, an answer does not parse.
        let expected = if flags[0] == "--endpoint" { "unparseable" } else { "choices" };
        assert_eq!(class(Lack::Choice, flags), (1, expected.to_owned()), "{flags:?}");
    }
}

#[test]
fn a_server_that_names_no_model_is_said_and_nothing_is_measured() {
    for (lack, remedy) in [(Lack::Model, "give --model"), (Lack::Status, "give --api-key")] {
        let mock = Mock::start(Script { lack, ..Script::default() });
        let ran = run(&["--url", &mock.url(), "--concurrency", "1", "--requests", "1"]);
        assert!(ran.code == 1 && ran.errors.contains(remedy), "{lack:?}: {}", ran.errors);
        assert!(mock.seen().posts.is_empty());
    }
}

#[test]
fn a_server_that_is_loading_is_waited_for() {
    let mock = Mock::start(Script { loading: 2, ..Script::default() });
    let ran = run(&["--url", &mock.url(), "--concurrency", "1", "--requests", "1"]);
    assert_eq!((ran.code, mock.seen().models), (0, 3), "{}", ran.errors);
    assert!(mock.seen().posts.iter().all(|(_, body)| body["model"] == "mock"));
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let mock = Mock::start(Script { first: Duration::from_secs(30), ..Script::default() });
    let ran = run(&["--url", &mock.url(), "--concurrency", "1", "--requests", "1", "--timeout", "0.1"]);
    assert_eq!((ran.code, ran.figures["errors"][0]["class"].as_str()), (1, Some("timeout")));
}

#[test]
fn limits_decide_the_exit_code() {
    let mock = Mock::start(Script::default());
    let code =
        |limit: &str| run(&["--url", &mock.url(), "--concurrency", "1", "--requests", "2", "--limit", limit]).code;
    assert_eq!([code("p99_ttft_ms<=60000"), code("completed>2"), code("p98_ttft_ms<=1")], [0, 1, 2]);
    let full = Mock::start(Script { lack: Lack::Status, ..Script::default() });
    let flags = ["--model", "mock", "--concurrency", "1", "--requests", "2", "--limit", "failed<=2"];
    let ran = run(&[&["--url", &full.url()][..], &flags].concat());
    assert!(ran.code == 1 && ran.errors.contains("no answer was whole"), "{}", ran.errors);
}

#[test]
fn a_server_that_is_not_there_is_said() {
    let ran = run(&["--url", "http://127.0.0.1:1", "--rate", "5"]);
    assert!(ran.code == 1 && ran.errors.contains("start the server, or correct --url"), "{}", ran.errors);
    let ran = run(&["--url", "127.0.0.1:1", "--rate", "5"]);
    assert!(ran.code == 2 && ran.errors.contains("http://"), "{}", ran.errors);
    assert_eq!(run(&["--url", "http://127.0.0.1:1"]).code, 2);
}
