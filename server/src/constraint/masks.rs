//! Masks are those that the library finds token by token.

use std::sync::{Arc, LazyLock};

use kernels::math::philox;
use llguidance::TokenParser;
use serde_json::json;

use super::Grammar;
use super::mask_finder::MaskFinder;
use super::tests::{DEMO, demo};
use super::vocabulary::factory;
use crate::request::ConstraintState;

/// Tokens of a walk, and walks of a grammar.
const TOKENS: u32 = 40;
const WALKS: u64 = 4;

static FINDER: LazyLock<Arc<MaskFinder>> =
    LazyLock::new(|| Arc::new(MaskFinder::new(Arc::clone(DEMO.factory.tok_env())).searching()));

/// Goes on by an allowed token, as every model might. Returns whether the walk is over.
fn step(parsers: &mut [TokenParser; 2], number: u32) -> bool {
    let [mask, expected] = parsers.each_mut().map(|parser| parser.compute_mask().unwrap());
    if mask != expected {
        let differs = |id: &u32| mask.is_allowed(*id) != expected.is_allowed(*id);
        let ids: Vec<u32> = (0..DEMO.size() as u32).filter(differs).take(5).collect();
        let text = String::from_utf8_lossy(parsers[0].final_bytes()).into_owned();
        panic!("after {text:?}: {:?}", ids.iter().map(|&id| DEMO.tokenizer.decode(&[id])).collect::<Vec<_>>());
    }
    let token = mask.iter().nth(number as usize % mask.num_set()).unwrap();
    let ended = parsers.each_mut().map(|parser| parser.consume_token(token).is_err() || parser.check_stop().unwrap());
    assert_eq!(ended[0], ended[1]);
    ended[0] || DEMO.ends(token)
}

fn compare(grammar: &Grammar) {
    let parser = || DEMO.factory.create_parser(grammar.clone().into_library()).unwrap();
    let mut parsers = [parser(), parser()];
    parsers[0].bias_computer = FINDER.clone();
    for seed in 0..WALKS {
        let mut parsers = parsers.each_ref().map(TokenParser::deep_clone);
        parsers.iter_mut().for_each(TokenParser::start_without_prompt);
        (0..TOKENS).find(|&position| step(&mut parsers, philox(seed, [position, 0, 0, 0])[0]));
    }
}

#[test]
fn masks_of_schemas_are_those_of_a_walk_over_all_tokens() {
    let string = |most: u32| json!({"type": "string", "maxLength": most});
    let object = json!({
        "type": "object",
        "properties": {
            "any": {"type": "string"}, "one": string(1), "some": string(9), "many": string(30),
            "least": {"type": "string", "minLength": 4, "maxLength": 7},
            "mail": {"type": "string", "format": "email"},
            "site": {"type": "string", "pattern": "^https://[a-z0-9.]{3,30}/[a-z]{0,20}$"},
            "word": {"type": "string", "pattern": "^\\w{2,6}$"},
        },
        "additionalProperties": false,
    });
    for name in ["any", "one", "some", "many", "least", "mail", "site", "word"] {
        let mut object = object.clone();
        object["required"] = json!([name]);
        compare(&Grammar::JsonSchema(object));
    }
    compare(&Grammar::JsonObject);
}

#[test]
fn masks_of_expressions_and_grammars_are_those_of_a_walk_over_all_tokens() {
    for expression in [
        "[a-z]{1,5}[A-Z]{0,3}|[a-z]{2,12}",
        "(.|\n)*",
        "[^é]{1,9}",
        "[\u{0}-\u{7ff}]{2,4}[\u{800}-\u{ffff}]*",
        "[a-zA-Z0-9]{1,6}(-[a-zA-Z0-9]{1,6})*",
        "(ab){1,20}",
        "[^\"]*",
    ] {
        compare(&Grammar::Regex(expression.into()));
    }
    for grammar in [
        // Words follow each other without anything between: where one ends is not seen by its characters.
        "start: (A B)+\nA: /[a-m]{1,3}/\nB: /[n-z]{1,3}/\n",
        "start: (A | B)+\nA: /[a-z ]{1,4}/\nB: /[^\"]{2,6}/\n",
        // Ends as early as it can.
        "start: item \"!\"\nitem[lazy]: /.{1,8}x/\n",
        "start: text \"!\"\ntext[suffix=\"end\"]: /.*/\n",
        "start: /[a-z]+/ NUMBER\nNUMBER: /[0-9]{1,4}/\n%ignore /[ ]+/\n",
        "start: \"(\" start \")\" | /[^()]{0,5}/\n",
    ] {
        compare(&Grammar::Lark(grammar.into()));
    }
}

#[test]
fn an_answer_that_forgets_what_its_lexer_has_learned_goes_on_as_before() {
    let small = demo().with_growth(100_000);
    let names = json!({"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 90});
    for grammar in [Grammar::Regex("([a-d ]*a[a-d ]{13}e)*".into()), Grammar::JsonSchema(names)] {
        let start = |vocabulary| grammar.clone().compile(vocabulary).unwrap().start();
        let mut states: [Box<dyn ConstraintState>; 2] = [start(&DEMO), start(&small)];
        let mut words = [Vec::new(), Vec::new()];
        for position in 0..40 {
            for (state, words) in states.iter_mut().zip(&mut words) {
                state.write_allowed(words).unwrap();
            }
            assert_eq!(words[0], words[1], "position {position} of {grammar:?}");
            let allowed = |id: &u32| words[0][*id as usize / 32] >> (id % 32) & 1 == 1 && !DEMO.ends(*id);
            let ids: Vec<u32> = (0..DEMO.size() as u32).filter(allowed).collect();
            let token = ids[philox(7, [position, 0, 0, 0])[0] as usize % ids.len()];
            states.iter_mut().for_each(|state| state.advance(token).unwrap());
        }
    }
}

#[test]
fn a_lexer_that_comes_to_its_limit_within_a_search_ends_the_answer_with_the_reason() {
    let mut factory = factory(DEMO.factory.tok_env());
    let mut refused = 0;
    for states in 2..60 {
        factory.limits_mut().max_lexer_states = states;
        // After a letter the last one leads to a state of its own: each is taken where it meets the limit.
        let grammar = Grammar::Regex("[a-z]([a-y]{2,9}|z[a-y]{3,8})".into());
        let mut parser = factory.create_parser(grammar.into_library()).unwrap();
        parser.bias_computer = FINDER.clone();
        parser.start_without_prompt();
        if let Err(error) = parser.compute_mask() {
            assert!(error.to_string().contains("too many states"), "{error}");
            refused += 1;
        }
    }
    assert!((3..55).contains(&refused), "{refused} of the limits are too low");
}

#[test]
fn a_search_for_runs_leaves_the_work_of_a_mask_to_the_walk() {
    // Each printable character ends a lexeme, in a row of 300 items: the walk alone makes 95 of them, of at most 50,000
    // items.
    let letters: Vec<String> = (b' '..=b'~').map(|byte| format!("/[\\x{byte:02x}]/ rest")).collect();
    let rest: Vec<String> = (0..300).map(|number| format!("/\\x01{number}/")).collect();
    let text = format!("start: {}\nrest: {}\n", letters.join(" | "), rest.join(" | "));
    let mut parser = DEMO.factory.create_parser(Grammar::Lark(text).into_library()).unwrap();
    parser.bias_computer = FINDER.clone();
    parser.start_without_prompt();
    assert!(parser.compute_mask().unwrap().num_set() >= 95);
}
