//! Answers of a model that wants anything at all: random walks over what constraints allow.

use std::sync::{Arc, LazyLock};

use kernels::math::philox;
use model::Tokenizer;
use serde_json::{Value, json};

use super::{Grammar, GrammarError, Targets, TargetsError, Vocabulary};
use crate::request::{Constraint, ConstraintState};

/// `<eos>` and `<end_of_turn>` of the demo.
const ENDS: [u32; 2] = [1, 6];
/// Tokens of the longest walk.
const LONGEST: u32 = 4000;

pub static DEMO: LazyLock<Vocabulary> = LazyLock::new(demo);

/// The tokens of the demo.
pub fn demo() -> Vocabulary {
    let tokenizer = Tokenizer::from_bytes(include_bytes!("../../../model/demo/tokenizer.json")).unwrap();
    let size = tokenizer.vocab_size();
    Vocabulary::new(&Arc::new(tokenizer), size, &ENDS)
}

fn compiled(grammar: Grammar) -> Constraint {
    grammar.compile(&DEMO).unwrap()
}

fn schema(schema: Value) -> Constraint {
    compiled(Grammar::JsonSchema(schema))
}

fn refusal(grammar: Grammar) -> String {
    match grammar.compile(&DEMO) {
        Err(GrammarError::Refused(reason)) => reason,
        other => panic!("expected a refusal: {other:?}"),
    }
}

fn allowed(state: &mut dyn ConstraintState) -> Vec<u32> {
    let mut words = Vec::new();
    state.write_allowed(&mut words).unwrap();
    (0..DEMO.size() as u32).filter(|&id| words[id as usize / 32] >> (id % 32) & 1 == 1).collect()
}

/// The ids of a walk that takes any allowed id, up to an end token.
fn walk(constraint: &Constraint, seed: u64) -> Vec<u32> {
    let mut state = constraint.start();
    let mut ids = Vec::new();
    for position in 0..LONGEST {
        let choices = allowed(&mut *state);
        assert!(!choices.is_empty(), "something may come next, or the end");
        // An end is taken where it can be, every other time: answers of open lengths end.
        let random = philox(seed, [position, 0, 0, 0]);
        let end = choices.iter().find(|id| ENDS.contains(id)).filter(|_| random[1].is_multiple_of(2));
        let id = *end.unwrap_or(&choices[random[0] as usize % choices.len()]);
        state.advance(id).unwrap();
        if ENDS.contains(&id) {
            return ids;
        }
        ids.push(id);
    }
    panic!("the walk has no end: {}", DEMO.tokenizer.decode(&ids));
}

fn texts(constraint: &Constraint) -> impl Iterator<Item = String> {
    (0..20).map(|seed| DEMO.tokenizer.decode(&walk(constraint, seed)))
}

fn values(constraint: &Constraint) -> impl Iterator<Item = Value> {
    texts(constraint).map(|text| serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// A schema whose answers are of bounded length, with a field of each kind.
fn record() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 12},
            "section": {"enum": ["libs", "utils", "doc"]},
            "priority": {"type": "integer", "minimum": 1, "maximum": 250},
            "ratio": {"type": "number", "minimum": 0, "maximum": 1},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1, "maxItems": 3},
            "parent": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/id"}]},
        },
        "required": ["name", "section", "priority", "ratio", "tags", "parent"],
        "additionalProperties": false,
        "$defs": {"id": {"type": "string", "pattern": "^[a-z]{2}-[0-9]{3}$"}},
    })
}

#[test]
fn every_answer_is_valid_under_its_schema() {
    for value in values(&schema(record())) {
        let fields = value.as_object().unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["name", "section", "priority", "ratio", "tags", "parent"]);
        assert!((1..=12).contains(&fields["name"].as_str().unwrap().chars().count()), "{value}");
        assert!(["libs", "utils", "doc"].contains(&fields["section"].as_str().unwrap()));
        assert!((1..=250).contains(&fields["priority"].as_i64().unwrap()));
        assert!((0.0..=1.0).contains(&fields["ratio"].as_f64().unwrap()));
        assert!((1..=3).contains(&fields["tags"].as_array().unwrap().len()));
        if let Some(id) = fields["parent"].as_str() {
            assert_eq!((id.len(), &id[2..3]), (6, "-"));
        } else {
            assert!(fields["parent"].is_null());
        }
    }
}

#[test]
fn any_object_is_an_object() {
    // A walk through open objects need not end, so only its beginning is looked at.
    let mut state = compiled(Grammar::JsonObject).start();
    let first = allowed(&mut *state);
    let begins = first.iter().filter(|&&id| DEMO.tokenizer.decode(&[id]).trim_start().starts_with('{'));
    assert!(begins.count() > 0, "an object can begin");
    for id in first {
        let text = DEMO.tokenizer.decode(&[id]);
        assert!(
            text.trim_start_matches([' ', '\n', '\r', '\t']).starts_with('{') || text.trim().is_empty(),
            "{text:?}"
        );
    }
}

#[test]
fn an_expression_is_matched_from_end_to_end() {
    for text in texts(&compiled(Grammar::Regex("(yes|no), [0-9]{2} (Müller|日本)".into()))) {
        let (answer, rest) = text.split_once(", ").unwrap();
        assert!(["yes", "no"].contains(&answer), "{text}");
        let (number, name) = rest.split_once(' ').unwrap();
        assert!(number.len() == 2 && number.parse::<u32>().is_ok(), "{text}");
        assert!(["Müller", "日本"].contains(&name), "{text}: characters without a piece are written byte by byte");
    }
}

#[test]
fn a_grammar_may_nest() {
    let grammar = "start: pair\npair: \"(\" pair \")\" | \"x\"\n";
    for text in texts(&compiled(Grammar::Lark(grammar.into()))) {
        let depth = text.len() / 2;
        assert_eq!(text, format!("{}x{}", "(".repeat(depth), ")".repeat(depth)));
    }
}

#[test]
fn a_special_token_is_no_text_of_an_answer() {
    let constraint = schema(json!({"const": "<eos>"}));
    for seed in 0..3 {
        let ids = walk(&constraint, seed);
        assert!(ids.iter().all(|&id| !DEMO.tokenizer.is_special(id)));
        assert_eq!(DEMO.tokenizer.decode(&ids), "\"<eos>\"");
    }
}

#[test]
fn after_its_end_only_end_tokens_are_left() {
    for constraint in [compiled(Grammar::Regex("ab".into())), Targets::compile(&["ab"], &DEMO).unwrap()] {
        let mut state = constraint.start();
        let mut forced = Vec::new();
        state.list_forced(&mut forced);
        forced.iter().for_each(|&id| state.advance(id).unwrap());
        assert_eq!(DEMO.tokenizer.decode(&forced), "ab");
        assert_eq!(allowed(&mut *state), ENDS);
        state.advance(ENDS[1]).unwrap();
        assert_eq!(allowed(&mut *state), ENDS);
        assert!(constraint.start().advance(ENDS[0]).is_err(), "nothing ends before its end");
    }
}

#[test]
fn forced_tokens_are_allowed_one_after_the_other_and_alone() {
    let constraint = schema(json!({
        "type": "object", "properties": {"description": {"type": "boolean"}}, "required": ["description"],
        "additionalProperties": false, "x-guidance": {"whitespace_flexible": false},
    }));
    let mut state = constraint.start();
    let mut forced = Vec::new();
    state.list_forced(&mut forced);
    assert!(DEMO.tokenizer.decode(&forced).starts_with("{\"description\""));
    for id in forced {
        assert_eq!(allowed(&mut *state), [id]);
        state.advance(id).unwrap();
    }
}

#[test]
fn a_fork_goes_on_by_itself() {
    let targets = Targets::compile(&["red apple", "red pear", "green"], &DEMO).unwrap();
    for constraint in [compiled(Grammar::Regex("red apple|red pear|green".into())), targets] {
        let mut state = constraint.start();
        let before = allowed(&mut *state);
        let mut fork = state.fork();
        let red = DEMO.tokenizer.encode("red apple").unwrap();
        red.iter().for_each(|&id| fork.advance(id).unwrap());
        assert_eq!(allowed(&mut *fork), ENDS);
        assert_eq!(allowed(&mut *state), before);
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_a_reason() {
    let schemas = [
        json!({"type": "object", "properties": {"a": false}, "required": ["a"]}),
        json!({"type": "integer", "minimum": 3, "maximum": 2}),
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"type": "no such type"}),
        json!([1, 2]),
        json!({"oneOf": [{"type": "string"}, {"minLength": 3}]}),
    ];
    for schema in schemas {
        assert!(!refusal(Grammar::JsonSchema(schema.clone())).is_empty(), "{schema}");
    }
    for expression in ["(", "(?<=a)b", "\\1"] {
        assert!(!refusal(Grammar::Regex(expression.into())).is_empty(), "{expression}");
    }
    for text in ["", "start: missing", "start: start \"x\"", "start: /[/", "no rule at all"] {
        assert!(!refusal(Grammar::Lark(text.into())).is_empty(), "{text:?}");
    }
}

#[test]
fn targets_are_exactly_those_that_were_given() {
    let given = ["apple", "apple tree", "a", "pear", "apple", ""];
    let constraint = Targets::compile(&given, &DEMO).unwrap();
    let mut found: Vec<String> = (0..200).map(|seed| DEMO.tokenizer.decode(&walk(&constraint, seed))).collect();
    found.sort();
    found.dedup();
    assert_eq!(found, ["", "a", "apple", "apple tree", "pear"]);
}

#[test]
fn targets_that_are_no_text_are_refused_by_their_index() {
    assert_eq!(Targets::compile(&[] as &[&str], &DEMO), Err(TargetsError::Empty));
    match Targets::compile(&["fine", "<eos>"], &DEMO) {
        Err(TargetsError::Untokenizable { index: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}
