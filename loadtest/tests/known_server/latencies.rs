//! Latencies are those that the server had, and count from the schedule.

use std::time::Duration;

use crate::mock::{Mock, Script};
use crate::program::run;

const MS: Duration = Duration::from_millis(1);
/// Share and milliseconds by which a median may differ from the server's own.
const SHARE: f64 = 0.03;
const SLACK_MS: f64 = 2.0;

fn median_ms(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

#[test]
fn latencies_are_those_that_the_server_had() {
    let mock = Mock::start(Script { first: 100 * MS, gap: 20 * MS, pieces: 5, ..Script::default() });
    let ran = run(&["--url", &mock.url(), "--rate", "25", "--duration", "2", "--max-tokens", "5"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert_eq!((ran.figure("completed"), ran.figure("failed")), (50.0, 0.0));
    assert_eq!((ran.figure("total_input_tokens"), ran.figure("total_output_tokens")), (350.0, 250.0));
    let seen = mock.seen();
    let (first, gap) = (median_ms(&seen.firsts), median_ms(&seen.gaps));
    for (key, expected) in [
        ("median_ttft_ms", first),
        ("median_itl_ms", gap),
        ("median_tpot_ms", gap),
        ("median_e2el_ms", first + 4.0 * gap),
    ] {
        let measured = ran.figure(key);
        assert!((measured - expected).abs() <= expected * SHARE + SLACK_MS, "{key}: {measured}, not {expected}");
    }
    let throughput = ran.figure("output_throughput") / ran.figure("request_throughput");
    assert!((throughput - 5.0).abs() < 1e-9, "{throughput} tokens for each request");
}

#[test]
fn several_choices_have_the_times_of_one() {
    let mock = Mock::start(Script { first: 50 * MS, gap: 20 * MS, pieces: 5, ..Script::default() });
    let ran = run(&["--url", &mock.url(), "--rate", "20", "--duration", "1", "--extra", "{\"n\": 4}"]);
    assert_eq!((ran.code, ran.figure("total_output_tokens")), (0, 400.0), "{}", ran.errors);
    for key in ["median_tpot_ms", "median_itl_ms"] {
        let measured = ran.figure(key);
        assert!((measured - 20.0).abs() <= 20.0 * SHARE + SLACK_MS, "{key}: {measured}");
    }
}

#[test]
fn latency_counts_from_the_schedule_and_no_arrival_is_skipped() {
    // One request at a time, of 100 ms each, when every 50 ms one is due: request k waits for 50 ms times k.
    let mock = Mock::start(Script { first: 100 * MS, pieces: 1, ..Script::default() });
    let flags = ["--rate", "20", "--duration", "1", "--arrivals", "constant", "--concurrency", "1"];
    let ran = run(&[&["--url", &mock.url()][..], &flags].concat());
    assert_eq!((ran.code, ran.figure("completed")), (0, 20.0), "{}", ran.errors);
    assert_eq!(ran.figure("max_concurrency"), 1.0);
    let (mean, longest) = (ran.figure("mean_ttft_ms"), ran.figure("p99.9_ttft_ms"));
    assert!((570.0..800.0).contains(&mean) && longest >= 1045.0, "mean {mean}, longest {longest}");
}

#[test]
fn a_closed_loop_has_as_many_requests_in_flight_as_clients() {
    let mock = Mock::start(Script { first: 50 * MS, pieces: 1, ..Script::default() });
    let ran = run(&["--url", &mock.url(), "--concurrency", "4", "--requests", "24"]);
    assert_eq!((ran.code, ran.figure("completed")), (0, 24.0), "{}", ran.errors);
    assert_eq!(ran.figures["request_rate"], "inf");
    // Six rounds of 50 ms, over connections that are kept; two more list models and read metrics.
    assert!((0.3..2.0).contains(&ran.figure("duration")), "{}", ran.figures);
    assert!(mock.seen().connections <= 6, "{} connections", mock.seen().connections);
    assert!(ran.figure("mean_ttft_ms") >= 50.0);
}

#[test]
fn goodput_counts_answers_within_their_limits() {
    let mock = Mock::start(Script { first: 60 * MS, pieces: 2, ..Script::default() });
    let goodput = |limit: &str| {
        let flags = ["--concurrency", "2", "--requests", "6", "--goodput", limit];
        let ran = run(&[&["--url", &mock.url()][..], &flags].concat());
        ran.figure("request_goodput") / ran.figure("request_throughput")
    };
    assert_eq!((goodput("ttft:10"), goodput("ttft:5000")), (0.0, 1.0));
}

#[test]
fn a_sweep_finds_what_the_server_can_do() {
    // Two at a time of 50 ms each: 40 requests per second.
    let mock = Mock::start(Script { first: 50 * MS, pieces: 1, ..Script::default() });
    let flags = ["--sweep", "--rate", "10", "--duration", "0.6", "--concurrency", "2", "--arrivals", "constant"];
    let ran = run(&[&["--url", &mock.url()][..], &flags].concat());
    let highest = ran.figure("highest_kept_rate");
    assert!((20.0..=40.0).contains(&highest), "{highest} of {}", ran.figures["sweep"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(ran.figures["sweep"].as_array().unwrap().len() >= 4);
}
