//! Forms of answers: JSON schemas, expressions and grammars, compiled and followed for some tokens.
//!
//! The library that compiles them catches its own panics, which are errors of the form; see `target`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use model::{Checkpoint, Tokenizer};
use server::constraint::{Grammar, Vocabulary};

use crate::target::Target;

/// A JSON schema, if it begins with `{`; otherwise the text of an expression and of a grammar.
pub const GRAMMARS: Target = Target { name: "grammars", seeds, parse, patience: Duration::from_secs(20) };

/// Most bytes of an input: longer ones go to a process of their own first, which may fail.
const MOST: usize = 4096;
/// Stack of the thread that compiles, in bytes.
const STACK_BYTES: usize = 16 << 20;
/// Tokens that are followed.
const TOKENS: usize = 24;

const SEEDS: [&str; 14] = [
    r#"{"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}"#,
    r#"{"type": "array", "items": {"enum": [1, "x", null]}, "minItems": 1, "maxItems": 3}"#,
    r##"{"$defs": {"n": {"anyOf": [{"type": "null"}, {"items": {"$ref": "#/$defs/n"}}]}}, "$ref": "#/$defs/n"}"##,
    r#"{"type": "integer", "minimum": -3, "exclusiveMaximum": 1000}"#,
    r#"{"type": "number", "multipleOf": 0.5}"#,
    r#"{"type": "string", "pattern": "^[a-c]+$"}"#,
    r#"{"type": "string", "format": "uuid"}"#,
    r#"{"oneOf": [{"const": "a"}, {"const": "b"}], "additionalProperties": false}"#,
    "[0-9]{4}-[0-9]{2}",
    "(yes|no|per(haps)?)[.!]?",
    r"\p{Lu}\w*(, \w+){0,3}",
    "start: \"a\" tail\ntail: /[0-9]+/ | \"(\" start \")\"\n",
    "start: item+\nitem: WORD \" \"\nWORD: /[a-z]{1,5}/\n%ignore /\\n/\n",
    "start: x{1,3}\nx: \"a\" | \"b\" \"c\"?\n",
];

/// The demo's tokens.
static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let checkpoint = Checkpoint::embedded().expect("the demo can be read");
    let json = checkpoint.tokenizer_json().expect("its tokenizer can be read").expect("it has a tokenizer");
    let tokenizer = Tokenizer::from_bytes(&json).expect("its tokenizer is one");
    let size = tokenizer.vocab_size();
    Vocabulary::new(&Arc::new(tokenizer), size, &checkpoint.config().end_tokens)
});

fn seeds() -> Vec<Vec<u8>> {
    SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

fn parse(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(&input[..input.len().min(MOST)]) else { return };
    let forms = match serde_json::from_str(text) {
        Ok(schema) if text.starts_with('{') => vec![Grammar::JsonSchema(schema)],
        _ => vec![Grammar::Regex(text.to_owned()), Grammar::Lark(text.to_owned())],
    };
    let follow = || forms.into_iter().for_each(follow);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, follow);
        // A panic there is noted by the target.
        let _ = thread.expect("there is a thread for it").join();
    });
}

/// Follows a form: every token that it allows can be taken.
fn follow(form: Grammar) {
    let Ok(constraint) = form.compile(&VOCABULARY) else { return };
    let (mut state, mut words, mut forced) = (constraint.start(), Vec::new(), Vec::new());
    for step in 0..TOKENS {
        if state.write_allowed(&mut words).is_err() {
            return;
        }
        forced.clear();
        state.list_forced(&mut forced);
        let allowed: Vec<u32> = (0..VOCABULARY.size() as u32).filter(|id| is_set(&words, *id)).collect();
        assert!(!allowed.is_empty(), "a form that goes on allows a token");
        assert!(forced.first().is_none_or(|id| allowed.contains(id)), "a forced token is allowed");
        let token = allowed[(step * 7919) % allowed.len()];
        if state.advance(token).is_err() || VOCABULARY.ends(token) {
            return;
        }
    }
}

fn is_set(words: &[u32], id: u32) -> bool {
    words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
}
