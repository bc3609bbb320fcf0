//! Grammars that strangers write, on trial in a process of the program.

use std::io::Write;

use serde_json::{Map, Value, json};
use server::constraint::{Grammar, GrammarError, TrialLimits, Trials};
use server::request::Party;

const LIMITS: TrialLimits = TrialLimits { at_once: 2, seconds: 2 };

fn trials() -> Trials {
    Trials::new(Some(env!("CARGO_BIN_EXE_server").into()), LIMITS)
}

async fn pass(trials: &Trials, grammar: &Grammar) -> Result<(), GrammarError> {
    trials.pass(grammar, &Party::default()).await
}

/// A list of rules each of which begins with the next one.
fn chain(length: usize, rule: impl Fn(usize) -> String) -> String {
    (0..length).map(rule).collect()
}

/// Definitions each of which is the next one.
pub fn references(length: usize) -> Value {
    let mut definitions: Map<String, Value> =
        (0..length).map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)}))).collect();
    definitions.insert(format!("d{length}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/d0", "$defs": definitions})
}

/// A schema whose alternatives double with every level.
pub fn doubling(levels: usize) -> Value {
    (0..levels).fold(
        json!({"type": "string"}),
        |inner, _| json!({"type": "array", "items": inner, "anyOf": [{"minItems": 1}, {"maxItems": 7}]}),
    )
}

#[tokio::test]
async fn a_grammar_that_can_be_served_passes() {
    for grammar in [
        Grammar::JsonObject,
        Grammar::JsonSchema(json!({"type": "object", "properties": {"a": {"type": "integer"}}})),
        Grammar::Regex("[a-z]+ (yes|no)".into()),
        Grammar::Lark("start: \"a\" start? \"b\"".into()),
    ] {
        assert_eq!(pass(&trials(), &grammar).await, Ok(()), "{grammar:?}");
    }
}

#[tokio::test]
async fn a_grammar_that_cannot_be_served_is_refused_with_the_library_s_reason() {
    let impossible = Grammar::JsonSchema(json!({"type": "integer", "minimum": 3, "maximum": 2}));
    match pass(&trials(), &impossible).await {
        Err(GrammarError::Refused(reason)) => assert!(reason.contains("minimum (3) is greater"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// Each of these would end the server, or keep a thread of it for minutes.
#[tokio::test]
async fn a_grammar_without_measure_harms_nobody() {
    for grammar in [
        Grammar::Lark(format!("start: r0\n{}r20000: \"x\"\n", chain(20_000, |n| format!("r{n}: r{}\n", n + 1)))),
        Grammar::Lark(format!("start: T0\n{}T20000: \"x\"\n", chain(20_000, |n| format!("T{n}: \"a\" T{}\n", n + 1)))),
        Grammar::JsonSchema(references(20_000)),
        Grammar::JsonSchema(doubling(40)),
    ] {
        assert_eq!(pass(&trials(), &grammar).await, Err(GrammarError::TooLarge));
    }
}

/// Faults of the machine are not the grammar's: the program reads what is no work, or is another program.
#[tokio::test]
async fn a_trial_that_cannot_be_held_is_no_refusal() {
    let mut trial = std::process::Command::new(env!("CARGO_BIN_EXE_server"))
        .arg("try-grammar")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    trial.stdin.take().unwrap().write_all(b"{\"seconds\": 2, \"gram").unwrap();
    let output = trial.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(server::constraint::trial::FAILED)));
    assert!(String::from_utf8(output.stdout).unwrap().contains("EOF"), "the reason is told");
    let other = Trials::new(Some("/bin/false".into()), LIMITS);
    assert_eq!(pass(&other, &Grammar::JsonObject).await, Err(GrammarError::Failed));
}

#[tokio::test]
async fn without_a_program_there_is_no_trial() {
    let missing = Trials::new(Some("/nowhere/server".into()), LIMITS);
    assert_eq!(pass(&missing, &Grammar::JsonObject).await, Err(GrammarError::Failed));
}
