//! Structured output: the form that each field gives, what is refused, and what compiling costs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::client_connection::Peer;
use server::request::Constraint;

use crate::app::{App, END, Setup, ids, wait_for};
use crate::scripted_engine::{Hand, generate};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

fn body(path: &str, fields: Value) -> Value {
    let mut body = match path {
        CHAT => json!({"messages": [{"role": "user", "content": "p"}]}),
        RESPONSES => json!({"input": "p"}),
        _ => json!({"prompt": "p"}),
    };
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// The constraint that the engine gets for a body with these fields.
async fn constraint(path: &'static str, fields: Value) -> Option<Constraint> {
    let (app, mut hand) = App::by_hand(Setup::default());
    let client = tokio::spawn(async move { app.post(path, &body(path, fields)).await });
    let submission = tokio::select! {
        submission = hand.submission() => submission,
        answer = client => panic!("{}", answer.unwrap().text),
    };
    submission.request.constraint.clone()
}

/// Whether an answer may be this text.
fn allows(constraint: &Constraint, text: &str) -> bool {
    let mut state = constraint.start();
    ids(text).iter().chain([&END]).all(|&id| state.advance(id).is_ok())
}

#[tokio::test]
async fn each_field_gives_the_answer_its_form() {
    let schema = json!({
        "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false,
    });
    let named = json!({"name": "a", "schema": schema, "strict": true, "description": "an a"});
    let mut flat = named.clone();
    flat["type"] = json!("json_schema");
    let (valid, spaced) = ("{\"a\":1}", "{ \"a\": 1 }");
    for (path, fields, good, bad) in [
        ("/v1/completions", json!({"response_format": {"type": "json_schema", "json_schema": named}}), spaced, "{}"),
        (CHAT, json!({"response_format": {"type": "json_schema", "json_schema": named}}), valid, "[1]"),
        (CHAT, json!({"response_format": {"type": "json_object"}}), "{\"b\": [2]}", "[1]"),
        (RESPONSES, json!({"text": {"format": flat, "verbosity": "medium"}}), valid, "{\"a\":\"1\"}"),
        (RESPONSES, json!({"text": {"format": {"type": "json_object"}}}), "{}", "1"),
        (CHAT, json!({"structured_outputs": {"json": schema}}), spaced, "{\"a\":1,\"b\":2}"),
        (CHAT, json!({"structured_outputs": {"json": schema.to_string()}}), valid, "{\"a\":null}"),
        (CHAT, json!({"structured_outputs": {"json": schema, "disable_any_whitespace": true}}), valid, spaced),
        (CHAT, json!({"structured_outputs": {"json": schema, "whitespace_pattern": "~"}}), "{~\"a\":1}", spaced),
        (CHAT, json!({"structured_outputs": {"json_object": true, "json": null}}), "{\"b\":{}}", "null"),
        (CHAT, json!({"structured_outputs": {"regex": "a+b"}}), "aab", "b"),
        (CHAT, json!({"structured_outputs": {"choice": ["red", "green"]}}), "green", "blue"),
        (CHAT, json!({"structured_outputs": {"grammar": "start: \"x\" \"y\"*"}}), "xyy", "yx"),
        ("/v1/completions", json!({"allowed_targets": ["red", "green"]}), "red", "re"),
        ("/v1/completions", json!({"guided_json": schema, "guided_whitespace_pattern": "~"}), "{~\"a\":1}", spaced),
        ("/v1/completions", json!({"guided_regex": "[0-9]{3}"}), "123", "12"),
        ("/v1/completions", json!({"guided_choice": ["red"]}), "red", "green"),
        (RESPONSES, json!({"guided_grammar": "start: \"x\""}), "x", "xx"),
    ] {
        let constraint = constraint(path, fields.clone()).await.unwrap_or_else(|| panic!("{fields}"));
        assert!(allows(&constraint, good), "{fields}: {good}");
        assert!(!allows(&constraint, bad), "{fields}: {bad}");
    }
}

#[tokio::test]
async fn objects_with_properties_are_closed_where_that_is_asked_for() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": true}}}});
    let more = "{\"a\":{\"c\":1}}";
    for (closes, is_allowed) in [(false, true), (true, false)] {
        let fields = json!({"structured_outputs": {"json": schema, "disable_additional_properties": closes}});
        assert_eq!(allows(&constraint(CHAT, fields).await.unwrap(), more), is_allowed);
    }
}

#[tokio::test]
async fn plain_text_has_no_form() {
    for fields in [
        json!({"response_format": {"type": "text"}, "structured_outputs": null, "guided_json": null}),
        json!({"structured_outputs": null, "allowed_targets": null}),
    ] {
        assert_eq!(constraint("/v1/completions", fields).await, None);
    }
    let fields = json!({"text": {"format": {"type": "text"}}});
    assert_eq!(constraint(RESPONSES, fields).await, None);
}

#[tokio::test]
async fn wrong_forms_are_refused_by_name_and_reach_no_engine() {
    let (app, hand) = App::by_hand(Setup::default());
    let named = |schema: Value| json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema}});
    let many: Vec<String> = (0..65).map(|index| index.to_string()).collect();
    let impossible = json!({"type": "integer", "minimum": 3, "maximum": 2});
    for (fields, param, words) in [
        (json!({"response_format": named(impossible.clone())}), "response_format", "minimum (3) is greater"),
        (json!({"response_format": named(json!({"type": "nothing"}))}), "response_format", "cannot be used"),
        (json!({"response_format": {"type": "xml"}}), "response_format", "json_schema"),
        (json!({"response_format": {}}), "response_format", "no type"),
        (json!({"response_format": "json"}), "response_format", "an object"),
        (json!({"response_format": {"type": "json_object", "strict": true}}), "response_format.strict", "Unrecognized"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema", "provide"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}),
            "response_format.json_schema.schema",
            "is missing",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}),
            "response_format.json_schema.name",
            "is missing",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}}),
            "response_format.json_schema.name",
            "1 to 64",
        ),
        (json!({"structured_outputs": {}}), "structured_outputs", "exactly one"),
        (json!({"structured_outputs": {"regex": "a", "json": {}}}), "structured_outputs", "exactly one"),
        (json!({"structured_outputs": {"regex": "a", "choices": ["a"]}}), "structured_outputs.choices", "Unrecognized"),
        (json!({"structured_outputs": {"regex": "a", "disable_any_whitespace": true}}), "structured_outputs", "JSON"),
        (json!({"structured_outputs": {"structural_tag": "{}"}}), "structured_outputs.structural_tag", "call no tools"),
        (json!({"structured_outputs": {"json": "{"}}), "structured_outputs.json", "is no JSON"),
        (json!({"structured_outputs": {"json": 7}}), "structured_outputs.json", "a JSON schema"),
        (json!({"structured_outputs": {"regex": "("}}), "structured_outputs", "cannot be used"),
        (json!({"structured_outputs": {"grammar": "start: nothing"}}), "structured_outputs", "nothing"),
        (json!({"structured_outputs": {"regex": "a".repeat(2049)}}), "structured_outputs.regex", "at most 2048"),
        (json!({"guided_json": {"enum": ["a".repeat(3000)]}}), "guided_json", "at most 2048"),
        (json!({"guided_regex": ["a"]}), "guided_regex", "a string"),
        (json!({"guided_regex": "a", "guided_whitespace_pattern": " "}), "guided_whitespace_pattern", "guided_json"),
        (json!({"allowed_targets": []}), "allowed_targets", "at least one"),
        (json!({"allowed_targets": [1]}), "allowed_targets", "allowed_targets[0]"),
        (json!({"allowed_targets": many}), "allowed_targets", "65 strings; at most 64"),
        (json!({"allowed_targets": ["a".repeat(1025)]}), "allowed_targets", "at most 1024"),
        (json!({"allowed_targets": ["fine", "<eos>"]}), "allowed_targets", "allowed_targets[1]"),
        (json!({"guided_regex": "a", "guided_choice": ["a"]}), "guided_choice", "give one of them"),
        (
            json!({"response_format": {"type": "json_object"}, "allowed_targets": ["a"]}),
            "allowed_targets",
            "one of them",
        ),
    ] {
        let answer = app.complete(body("", fields.clone())).await;
        let message = answer.error(400, Some(param), None);
        assert!(message.contains(words), "{fields}: {message}");
    }
    for (format, param) in [
        (json!({"format": {"type": "json_schema", "name": "a"}}), "text.format.schema"),
        (json!({"format": {"type": "json_schema", "name": "a", "schema": impossible}}), "text.format"),
        (json!({"verbosity": "low"}), "text.verbosity"),
        (json!({"colour": 1}), "text.colour"),
    ] {
        app.post(RESPONSES, &body(RESPONSES, json!({"text": format}))).await.error(400, Some(param), None);
    }
    assert!(hand.is_idle());
}

#[tokio::test]
async fn a_model_that_takes_ids_only_gives_no_forms() {
    let (app, _hand) = App::by_hand(Setup { tokenizer: None, ..Setup::default() });
    let answer = app.complete(json!({"prompt": [5], "allowed_targets": ["a"]})).await;
    answer.error(400, Some("allowed_targets"), None);
}

#[tokio::test]
async fn a_response_repeats_its_format() {
    let tokens = ids("{}");
    let app = App::scripted(Setup::default(), move |request| generate(request, &tokens));
    let format = json!({
        "type": "json_schema", "name": "a", "description": "an a", "schema": {"type": "object"}, "strict": false,
    });
    let answer = app.post(RESPONSES, &json!({"input": "p", "text": {"format": format}})).await.json();
    assert_eq!(answer["text"], json!({"format": format, "verbosity": "medium"}));
    let plain = app.post(RESPONSES, &json!({"input": "p"})).await.json();
    assert_eq!(plain["text"], json!({"format": {"type": "text"}, "verbosity": "medium"}));
}

#[tokio::test]
async fn what_is_rendered_tells_the_form_and_a_wrong_form_is_refused_as_in_the_request_itself() {
    let (app, hand) = App::by_hand(Setup::default());
    for (fields, form) in [
        (json!({"guided_regex": "a+"}), json!({"regex": "a+"})),
        (json!({"allowed_targets": ["a", "b"]}), json!({"choice": ["a", "b"]})),
        (json!({"response_format": {"type": "json_object"}}), json!({"json_object": true})),
        (json!({"structured_outputs": {"json": {"type": "null"}}}), json!({"json": {"type": "null"}})),
        (json!({"structured_outputs": {"grammar": "start: \"a\""}}), json!({"grammar": "start: \"a\""})),
    ] {
        let answer = app.post("/v1/completions/render", &body("", fields)).await.json();
        assert_eq!(answer[0]["sampling_params"]["structured_outputs"], form);
    }
    let wrong = app.post("/v1/completions/render", &body("", json!({"guided_regex": "("}))).await;
    wrong.error(400, Some("guided_regex"), None);
    assert!(hand.is_idle());
}

#[tokio::test]
async fn requests_with_one_form_at_the_same_time_compile_it_once() {
    let tokens = ids("a");
    let app = App::scripted(Setup::default(), move |request| generate(request, &tokens));
    let request = || body("", json!({"guided_regex": "a{1,7}"}));
    let clients: Vec<_> = (0..8).map(|_| app.spawn(request())).collect();
    for client in clients {
        assert_eq!(client.await.unwrap().status.as_u16(), 200);
    }
    app.completed(request()).await;
    let metrics = app.metrics();
    assert_eq!((metrics.form_seconds.get_sample_count(), metrics.form_cache_hits.get()), (1, 8));
}

/// A program that writes its process id and then takes for ever.
fn endless(folder: &Path) -> Setup {
    let (program, pid) = (folder.join("program"), folder.join("pid"));
    let text = format!("#!/bin/sh\necho $$ > {0}.new && mv {0}.new {0}\nexec sleep 600\n", pid.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Setup { trial_program: program, queue_timeout: Duration::from_secs(1), ..Setup::default() }
}

async fn running(folder: &Path) -> String {
    let read = || fs::read_to_string(folder.join("pid")).ok().map(|pid| pid.trim().to_owned());
    wait_for(read).await
}

async fn ended(pid: &str) {
    let process = Path::new("/proc").join(pid);
    wait_for(|| (!process.exists()).then_some(())).await;
}

#[tokio::test]
async fn a_trial_ends_when_its_client_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let (app, hand): (App, Hand) = App::by_hand(endless(folder.path()));
    let client = app.spawn(body("", json!({"guided_regex": "a"})));
    let pid = running(folder.path()).await;
    client.abort();
    ended(&pid).await;
    assert!(hand.is_idle());
}

#[tokio::test]
async fn a_client_with_many_forms_delays_another_by_one_trial() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // Trials note what they try, and wait for a sign.
    let text = format!(
        "#!/bin/sh\ncat >> {0}\necho >> {0}\nuntil [ -e {1} ]; do sleep 0.01; done\n",
        file("order").display(),
        file("sign").display()
    );
    fs::write(file("program"), text).unwrap();
    fs::set_permissions(file("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let tokens = ids("a");
    let setup = Setup { trial_program: file("program"), ..Setup::default() };
    let app = App::scripted(setup, move |request| generate(request, &tokens));
    let ask = |address: [u8; 4], expression: &str| {
        let body = body("", json!({"guided_regex": expression}));
        let mut request = Request::post("/v1/completions").body(Body::from(body.to_string())).unwrap();
        request.extensions_mut().insert(Peer((address, 4444).into()));
        let app = app.clone();
        tokio::spawn(async move { app.send(request).await.status().as_u16() })
    };
    let waiting = |forms: usize| {
        let compiler = app.model().compiler.as_ref().unwrap();
        wait_for(move || (compiler.forms() == forms).then_some(()))
    };
    let mut clients: Vec<_> = (1..=4).map(|count| ask([192, 0, 2, 1], &format!("a|many{count}"))).collect();
    waiting(4).await;
    clients.push(ask([192, 0, 2, 2], "a|one"));
    waiting(5).await;
    fs::write(file("sign"), "").unwrap();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    let order = fs::read_to_string(file("order")).unwrap();
    let place = order.lines().position(|line| line.contains("a|one"));
    assert_eq!((order.lines().count(), place), (5, Some(2)), "{order}");
}

#[tokio::test]
async fn who_waits_too_long_for_a_trial_is_answered_503_and_lists_of_targets_need_none() {
    let folder = tempfile::tempdir().unwrap();
    let (app, mut hand) = App::by_hand(endless(folder.path()));
    let clients = ["a", "b"].map(|expression| app.spawn(body("", json!({"guided_regex": expression}))));
    let pid = running(folder.path()).await;
    let chooser = app.spawn(body("", json!({"allowed_targets": ["a"]})));
    assert!(hand.submission().await.request.constraint.is_some());
    chooser.abort();
    for client in clients {
        client.await.unwrap().error(503, None, Some("queue_timeout"));
    }
    ended(&pid).await;
}
