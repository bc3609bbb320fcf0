//! Bodies that are accepted, and the errors of the others.

use kernels::Sampling;
use serde_json::{Value, json};

use super::{ApiError, CallNames, CallSources, GenerationCall, Prompt, RequestBounds, Sources, TargetNames};
use crate::api::answers::StreamOptions;
use crate::api::controls::GivenControls;
use crate::api::fields::{IdBounds, PromptBounds, PromptNames, StopBounds, TextOptions};
use crate::api::structure::StructureBounds;
use crate::request::RequestDefaults;

const BOUNDS: RequestBounds = RequestBounds {
    prompts: PromptBounds { prompts: 64, ids: IdBounds { vocab: 1000, most: 50 } },
    decoder_prompt: IdBounds { vocab: 500, most: 41 },
    choices: 16,
    top_log_probs: 20,
    total_choices: 32,
    stop: StopBounds { strings: 4, bytes: 64 },
    start_token: 2,
    structure: StructureBounds { grammar_bytes: 1000, targets: 10, target_bytes: 100 },
    messages: 8,
    sampling: RequestDefaults::SAMPLING,
    search: RequestDefaults::SEARCH,
    has_max_tokens: false,
    takes_text: true,
    generates: true,
};

fn parse(value: Value) -> Result<GenerationCall, ApiError> {
    super::parse(value.to_string().as_bytes(), &BOUNDS)
}

/// A request with one more field.
fn with(name: &str, value: Value) -> Result<GenerationCall, ApiError> {
    let mut body = json!({"prompt": "p"});
    body[name] = value;
    parse(body)
}

#[test]
fn defaults_are_openais() {
    let request = parse(json!({"prompt": "p"})).unwrap();
    let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 };
    assert_eq!(
        request,
        GenerationCall {
            names: CallNames {
                target: TargetNames {
                    beginning: "decoder_prompt".into(),
                    max_tokens: "max_tokens",
                    gives_max_tokens: false,
                },
                are_listed: false,
                log_probs: "logprobs",
                rows: None,
            },
            sources: CallSources::Prompts(Sources {
                prompts: vec![Prompt::Text("p".to_owned())],
                names: PromptNames::Single("prompt"),
            }),
            beginnings: Vec::new(),
            suffix: None,
            cache_salt: None,
            timeout: None,
            add_special_tokens: Some(true),
            max_tokens: Some(16),
            min_tokens: None,
            ignore_eos: false,
            choices: 1,
            best_of: None,
            beams: None,
            sampling,
            seed: None,
            controls: GivenControls::default(),
            structure: None,
            speculation: true,
            text_options: TextOptions::default(),
            stop: Vec::new(),
            log_probs: None,
            prompt_log_probs: None,
            echo: false,
            stream: false,
            stream_options: StreamOptions::default(),
            return_token_ids: false,
        }
    );
}

#[test]
fn null_means_the_default_for_every_field() {
    let names = "model decoder_prompt cache_salt add_special_tokens max_tokens min_tokens ignore_eos n temperature \
                 top_p top_k \
                 min_p seed stop logprobs echo stream stream_options return_token_ids best_of user suffix";
    let default = parse(json!({"prompt": "p"}));
    for name in names.split_whitespace() {
        assert_eq!(with(name, Value::Null), default, "{name}");
    }
    assert_eq!(with("prompt", Value::Null), Err(ApiError::Missing { param: "prompt" }));
}

#[test]
fn values_at_the_edges_of_their_ranges_are_accepted() {
    assert_eq!(with("temperature", json!(0)).unwrap().sampling.temperature, 0.0);
    assert_eq!(with("temperature", json!(1e-30)).unwrap().sampling.temperature, 0.0);
    assert_eq!(with("temperature", json!(100)).unwrap().sampling.temperature, 100.0);
    assert_eq!(with("top_p", json!(1)).unwrap().sampling.top_p, 1.0);
    assert!(with("top_p", json!(1e-300)).unwrap().sampling.top_p > 0.0);
    let greedy = with("top_p", json!(0)).unwrap().sampling;
    assert_eq!(greedy.temperature, 0.0, "nothing but the most probable token is left");
    assert!(greedy.top_p > 0.0);
    for off in [-1, 0] {
        assert_eq!(with("top_k", json!(off)).unwrap().sampling.top_k, 0);
    }
    assert_eq!(with("top_k", json!(1_u64 << 40)).unwrap().sampling.top_k, u32::MAX);
    assert_eq!(with("min_p", json!(1)).unwrap().sampling.min_p, 1.0);
    assert_eq!(with("seed", json!(u64::MAX)).unwrap().seed, Some(u64::MAX));
    assert_eq!(with("seed", json!(-1)).unwrap().seed, Some(u64::MAX));
    assert_eq!(with("n", json!(16)).unwrap().choices, 16);
    assert_eq!(with("logprobs", json!(20)).unwrap().log_probs, Some(20));
    assert_eq!(with("min_tokens", json!(16)).unwrap().min_tokens, Some(16));
    assert_eq!(with("stop", json!("x")).unwrap().stop, ["x"]);
    assert_eq!(with("cache_salt", json!("x")).unwrap().cache_salt.as_deref(), Some("x"));
    assert!(with("cache_salt", json!("x".repeat(1024))).is_ok());
    assert!(!with("speculation", json!("off")).unwrap().speculation);
    assert_eq!(with("stop", json!(["a", "b", "c", "d"])).unwrap().stop.len(), 4);
    assert_eq!(with("stop", json!([])).unwrap().stop.len(), 0);
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (name, values) in [
        ("temperature", vec![json!(-0.1), json!(101), json!("1"), json!(true)]),
        ("top_p", vec![json!(1.01), json!(-1), json!([])]),
        ("top_k", vec![json!(-2), json!(1.5), json!("5")]),
        ("min_p", vec![json!(-0.1), json!(1.1)]),
        ("max_tokens", vec![json!(0), json!(-1), json!(1.0), json!("16"), json!(true)]),
        ("min_tokens", vec![json!(17), json!(-1)]),
        ("n", vec![json!(0), json!(17), json!(-1), json!(2.0)]),
        ("logprobs", vec![json!(21), json!(-1), json!(true)]),
        ("seed", vec![json!(0.5), json!("x"), json!(1e30)]),
        ("stop", vec![json!(""), json!(["a", ""]), json!(["a", "b", "c", "d", "e"]), json!(7), json!([7])]),
        ("stream", vec![json!(1), json!("true")]),
        ("echo", vec![json!(0)]),
        ("ignore_eos", vec![json!("yes")]),
        ("speculation", vec![json!("on"), json!(true)]),
        ("cache_salt", vec![json!(""), json!(7), json!("x".repeat(1025))]),
        ("stream_options", vec![json!({"include_usage": true}), json!([]), json!({})]),
        ("decoder_prompt", vec![json!(7), json!([500]), json!(["a", 1]), json!([[1], []]), json!(vec!["a"; 1000])]),
        ("prompt_logprobs", vec![json!(-1), json!(21), json!("1")]),
        ("prompt", vec![json!([1000]), json!(""), json!(3)][..1].to_vec()),
    ] {
        for value in values {
            let error = with(name, value.clone()).expect_err("refused");
            let body: Value = serde_json::from_str(&error.body()).unwrap();
            assert_eq!(error.status().as_u16(), 400, "{name} {value}");
            let param = body["error"]["param"].as_str().expect("a parameter is named");
            assert!(param.starts_with(name), "{name} {value}: {body}");
        }
    }
}

#[test]
fn a_stop_string_longer_than_allowed_is_named_by_its_place() {
    let (longest, longer) = ("é".repeat(32), "x".repeat(65));
    assert_eq!(with("stop", json!(["a", longest])).unwrap().stop.len(), 2);
    for (value, param) in [(json!(longer), "stop"), (json!(["a", longer]), "stop[1]")] {
        let refused = ApiError::TooLong { param: param.to_owned(), bytes: 65, limit: 64 };
        assert_eq!(with("stop", value), Err(refused));
    }
}

#[test]
fn all_choices_of_a_request_are_bounded_together() {
    let ask = |prompts: usize, n: u32| parse(json!({"prompt": vec!["p"; prompts], "n": n}));
    assert!(ask(32, 1).is_ok() && ask(2, 16).is_ok());
    for (prompts, n, param) in [(33, 1, "prompt"), (3, 11, "n"), (64, 16, "n")] {
        let error = ask(prompts, n).expect_err("refused");
        assert!(matches!(error, ApiError::Total { param: name, limit: 32, .. } if name == param), "{error}");
    }
}

#[test]
fn log_probabilities_count_every_token_of_every_choice_with_its_alternatives() {
    let mut body = json!({"prompt": ["p", "q"], "decoder_prompt": "d", "n": 3, "max_tokens": 20});
    let count = |body: &Value| parse(body.clone()).unwrap().log_probs_per_prompt(10);
    assert_eq!(count(&body), 0);
    body["logprobs"] = json!(0);
    assert_eq!(count(&body), 60);
    body["logprobs"] = json!(20);
    assert_eq!(count(&body), 60 * 21);
    body["echo"] = json!(true);
    assert_eq!(count(&body), 90 * 21);
    body["max_tokens"] = json!(u64::MAX);
    assert!(count(&body) > u64::from(u32::MAX));
}

#[test]
fn no_tokens_may_be_asked_for_only_with_echo() {
    assert_eq!(parse(json!({"prompt": "p", "max_tokens": 0, "echo": true})).unwrap().max_tokens, Some(0));
    let error = parse(json!({"prompt": "p", "max_tokens": 0, "echo": false})).expect_err("refused");
    assert!(matches!(error, ApiError::OutOfRange { param: "max_tokens", .. }));
}

#[test]
fn log_probabilities_of_an_echo_need_a_target_and_a_plain_echo_does_not() {
    for max_tokens in [0, 1, 16] {
        let mut body = json!({"prompt": "p", "echo": true, "logprobs": 1, "max_tokens": max_tokens});
        let error = parse(body.clone()).expect_err("refused");
        assert!(matches!(&error, ApiError::Invalid { param, .. } if param == "decoder_prompt"), "{error}");
        assert!(error.to_string().contains("docs/api.md"), "{error}");
        body["decoder_prompt"] = json!("");
        assert!(parse(body.clone()).is_ok(), "an empty target is one");
        body["decoder_prompt"] = Value::Null;
        body["logprobs"] = Value::Null;
        assert!(parse(body).is_ok());
    }
    assert!(with("logprobs", json!(1)).is_ok());
}

#[test]
fn stream_options_are_read_and_their_unknown_fields_refused() {
    let ask = |options: Value| parse(json!({"prompt": "p", "stream": true, "stream_options": options}));
    let read = |options: Value| ask(options).unwrap().stream_options;
    let none = StreamOptions::default();
    assert_eq!(
        read(json!({"include_usage": true, "continuous_usage_stats": false})),
        StreamOptions { include_usage: true, ..none }
    );
    assert_eq!(
        read(json!({"continuous_usage_stats": true, "coalesce": true})),
        StreamOptions { include_usage: false, continuous_usage_stats: true, coalesce: true }
    );
    assert_eq!(read(json!({"include_obfuscation": true, "coalesce": null})), none);
    let unknown = ask(json!({"usage": true})).expect_err("refused");
    assert_eq!(unknown.to_string(), "Unrecognized request argument supplied: stream_options.usage");
    assert!(ask(json!({"include_usage": 1})).is_err());
}

#[test]
fn an_unknown_field_is_answered_as_openai_does() {
    let error = with("bogus", json!(1)).expect_err("refused");
    assert_eq!(error.to_string(), "Unrecognized request argument supplied: bogus");
}

#[test]
fn bodies_that_are_no_request_are_refused_with_the_place() {
    let parse = |body: &[u8]| super::parse(body, &BOUNDS).expect_err("refused").to_string();
    assert!(parse(b"{\"prompt\": \"\xff\"}").contains("offset 12"));
    assert!(parse(b"{\"prompt\": \"a\",\n}").contains("line 2 column 1"));
    assert!(parse(b"  ").contains("it is empty"));
    assert!(parse(b"[1]").contains("must be a JSON object, not a list"));
    assert!(parse(b"{\"prompt\": \"a\"} x").contains("trailing characters"));
    for lone in ["\\ud800", "\\uD83D x", "\\ud83d\\n", "\\ud800\\u0041", "\\udc00"] {
        let problem = parse(format!("{{\"prompt\": \"{lone}\"}}").as_bytes());
        assert!(problem.contains("a lone surrogate escape (\\ud800 to \\udfff) is no character"), "{lone}: {problem}");
        assert!(problem.contains("line 1 column"), "{problem}");
    }
    assert!(!parse(b"{\"prompt\": \"\\u00").contains("surrogate"));
    let deep = format!("{{\"prompt\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    assert!(parse(deep.as_bytes()).contains("nested too deeply"));
    assert!(parse(b"{\"prompt\": NaN}").contains("line 1"));
}

#[test]
fn text_without_a_tokenizer_is_refused_by_name() {
    let bounds = RequestBounds { takes_text: false, ..BOUNDS };
    for (body, param) in [
        (json!({"prompt": "p"}), "prompt"),
        (json!({"prompt": ["p"]}), "prompt"),
        (json!({"prompt": [1], "decoder_prompt": "p"}), "decoder_prompt"),
        (json!({"prompt": [1], "stop": "p"}), "stop"),
    ] {
        let error = super::parse(body.to_string().as_bytes(), &bounds).expect_err("refused");
        assert!(matches!(error, ApiError::NeedsTokenizer { param: name, .. } if name == param), "{error}");
    }
    let ids = json!({"prompt": [[1], [2]], "decoder_prompt": [3], "stop": []});
    assert!(super::parse(ids.to_string().as_bytes(), &bounds).is_ok());
}

#[test]
fn several_beginnings_have_a_single_prompt_and_count_as_its_choices() {
    let body = json!({"prompt": "p", "decoder_prompt": ["a", "b", "c"], "n": 4});
    let call = parse(body.clone()).unwrap();
    assert_eq!(call.beginnings.len(), 3);
    assert_eq!((call.requests(), call.names.beginning(2)), (3, "decoder_prompt[2]".to_owned()));
    assert_eq!(parse(json!({"prompt": "p", "decoder_prompt": []})).unwrap().beginnings, [Prompt::Ids(Vec::new())]);
    assert_eq!(parse(json!({"prompt": ["p", "q"], "decoder_prompt": ["a"]})).unwrap().requests(), 2);
    let refused = |body: Value| parse(body).expect_err("refused").to_string();
    let pairs = refused(json!({"prompt": ["p", "q"], "decoder_prompt": ["a", "b"]}));
    assert!(pairs.starts_with("'decoder_prompt' is a list of several, which needs a single prompt"), "{pairs}");
    let long = refused(json!({"prompt": "p", "decoder_prompt": [[1], vec![2; 60]]}));
    assert!(long.contains("decoder_prompt[1]"), "{long}");
}

#[test]
fn log_probabilities_of_a_beginning_need_one_and_no_stream() {
    let call = parse(json!({"prompt": "p", "decoder_prompt": "d", "prompt_logprobs": 2, "max_tokens": 0})).unwrap();
    assert_eq!((call.prompt_log_probs, call.max_tokens), (Some(2), Some(0)));
    assert_eq!(call.prompt_scores().map(|scores| scores.top), Some(2));
    let both = json!({"prompt": "p", "decoder_prompt": "d", "prompt_logprobs": 2, "logprobs": 5, "echo": true});
    assert_eq!(parse(both).unwrap().prompt_scores().map(|scores| scores.top), Some(5));
    for (body, start) in [
        (json!({"prompt": "p", "prompt_logprobs": 0}), "'decoder_prompt' is missing: 'prompt_logprobs'"),
        (
            json!({"prompt": "p", "decoder_prompt": "d", "prompt_logprobs": 0, "stream": true}),
            "'prompt_logprobs' is not",
        ),
    ] {
        let error = parse(body).expect_err("refused").to_string();
        assert!(error.starts_with(start), "{error}");
    }
}
