//! The memory of compiled forms: at least what they take, and not many times as much, by the allocator's count.
// A global allocator is an unsafe trait by definition; this one hands every call on and counts its bytes.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use model::Tokenizer;
use serde_json::{Value, json};
use server::constraint::{Grammar, Targets, Vocabulary};

thread_local! {
    /// Bytes that this thread asked for and did not give back.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: usize, sign: isize) {
    // A thread that ends may free after its counter is gone.
    let _ = HELD.try_with(|held| held.set(held.get() + sign * bytes as isize));
}

// SAFETY: every call goes to the system's allocator unchanged, whose promises are thereby this one's; the counter
// needs no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promise about `layout` is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller promises the same of `layout` as `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, 1);
        count(layout.size(), -1);
        // SAFETY: `pointer` came from the system's allocator, by way of this one.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: `pointer` came from the system's allocator, and the caller promises that it was with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of `make`, and the bytes that it holds.
fn measured<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    let made = make();
    (made, (HELD.get() - before).max(0) as usize)
}

fn vocabulary() -> Vocabulary {
    let tokenizer = Tokenizer::from_bytes(include_bytes!("../../../model/demo/tokenizer.json")).unwrap();
    let size = tokenizer.vocab_size();
    Vocabulary::new(&Arc::new(tokenizer), size, &[1, 6])
}

/// A closed object with so many fields of a kind.
fn fields(count: usize, kind: &Value) -> Grammar {
    let properties: Value = (0..count).map(|name| (format!("field {name}"), kind.clone())).collect();
    Grammar::JsonSchema(json!({"type": "object", "properties": properties, "additionalProperties": false}))
}

/// An open object with so many fields of a kind, in few letters.
fn dense(count: usize, kind: &Value) -> Grammar {
    let properties: Value = (0..count).map(|name| (format!("{name:x}"), kind.clone())).collect();
    Grammar::JsonSchema(json!({"properties": properties}))
}

/// A grammar with so many rules, each of which names the next one.
fn rules(count: usize, rule: impl Fn(usize, usize) -> String) -> Grammar {
    let rules: String = (0..count).map(|number| format!("r{number}: {}\n", rule(number, number + 1))).collect();
    Grammar::Lark(format!("start: r0\n{rules}r{count}: \"x\"\n"))
}

/// Small forms of every kind.
fn small() -> Vec<Grammar> {
    vec![
        Grammar::JsonObject,
        Grammar::Regex("[a-z]+ (yes|no)".into()),
        Grammar::Regex("[a-d]*a[a-d]{13}e".into()),
        Grammar::Regex("((a{1,90}b){1,90}c){1,90}".into()),
        Grammar::Lark("start: \"a\" start? \"b\"".into()),
        Grammar::JsonSchema(json!({"type": "string", "maxLength": 20_000})),
        Grammar::JsonSchema(json!({"items": {"type": "integer", "minimum": 3, "maximum": 88_888}, "maxItems": 1000})),
    ]
}

/// Forms that grow with a number, some of them much more than their texts.
fn large(count: usize) -> Vec<Grammar> {
    let words: Vec<String> = (0..10 * count).map(|number| format!("word{}", number * number)).collect();
    let items: Vec<Value> = (0..count).map(|number| json!({"required": [number.to_string()]})).collect();
    let numbers: Vec<Value> = (0..count).map(|number| json!({"const": number})).collect();
    vec![
        fields(count, &json!({"type": "integer", "minimum": 0, "maximum": 99_999})),
        fields(count, &json!({"type": "string", "maxLength": 40})),
        fields(count, &json!({"enum": ["red", "green", "blue"]})),
        fields(count, &json!({"type": "string", "pattern": "^[a-z]{2}-[0-9]{3}$"})),
        dense(count, &json!(true)),
        dense(count, &json!({"$ref": "#"})),
        dense(count, &json!({"const": 1})),
        Grammar::JsonSchema(json!({"prefixItems": items})),
        Grammar::JsonSchema(json!({"anyOf": numbers})),
        Grammar::Regex(words.join("|")),
        rules(count, |number, next| format!("\"{number}\" r{next}? /x[a-f]+/")),
        rules(count, |number, next| format!("\"{number}\" r{next}?")),
        rules(count, |_, next| format!("r{next} r{next} | \"y\" r{next}")),
    ]
}

#[test]
fn compiled_forms_say_how_much_memory_they_take() {
    let vocabulary = vocabulary();
    Grammar::JsonObject.compile(&vocabulary).unwrap();
    for grammar in small().into_iter().chain([10, 100, 400].into_iter().flat_map(large)) {
        let (compiled, held) = measured(|| grammar.clone().compile(&vocabulary).unwrap());
        let said = compiled.bytes();
        let beginning: String = format!("{grammar:?}").chars().take(120).collect();
        assert!((held..=5 * held).contains(&said), "{said} bytes for {held}: {beginning}");
    }
    for count in [1000, 20_000] {
        let targets: Vec<String> = (0..count).map(|target| format!("target {target}")).collect();
        let (compiled, held) = measured(|| Targets::compile(&targets, &vocabulary).unwrap());
        let said = compiled.bytes();
        assert!((held - held / 20..=held).contains(&said), "{said} bytes for {held}: {count} targets");
    }
}

/// Allowed ids of a mask, without those that end an answer.
fn next(words: &[u32], number: usize) -> Option<u32> {
    let allowed = |id: &u32| words[*id as usize / 32] >> (id % 32) & 1 == 1 && ![1, 6].contains(id);
    let ids: Vec<u32> = (0..32 * words.len() as u32).filter(allowed).collect();
    ids.get(number * 7919 % ids.len().max(1)).copied()
}

/// An answer that takes allowed tokens, so many at most.
struct Followed {
    /// Bytes that it says it has when it begins, and those that it held when it held most.
    said: usize,
    held: usize,
    error: Option<String>,
}

fn follow(grammar: &Grammar, vocabulary: &Vocabulary, tokens: usize) -> Followed {
    let compiled = grammar.clone().compile(vocabulary).unwrap();
    let before = HELD.get();
    let mut state = compiled.start();
    let held = || (HELD.get() - before).max(0) as usize;
    let said = compiled.answer_bytes();
    assert!((held()..=5 * held()).contains(&said), "{said} bytes for {}: {grammar:?}", held());
    let (mut words, mut most) = (Vec::new(), 0);
    let mut go_on = |number| {
        let mut forced = Vec::new();
        state.list_forced(&mut forced);
        most = held().max(most);
        forced.iter().try_for_each(|&token| state.advance(token))?;
        state.write_allowed(&mut words)?;
        most = held().max(most);
        state.advance(next(&words, number).expect("the form has no end within so many tokens"))
    };
    let error = (0..tokens).find_map(|number| go_on(number).err());
    Followed { said, held: most, error: error.map(|error| error.reason) }
}

#[test]
fn an_answer_takes_no_more_memory_for_its_form_than_it_may() {
    let growth = 256 << 10;
    let vocabulary = vocabulary().with_growth(growth);
    let lark = |text: &str| Grammar::Lark(text.into());
    let names = json!({"type": "array", "items": {"type": "string", "maxLength": 30}, "minItems": 900});
    let rows: String = "description ".repeat(9).chars().map(|letter| format!("\"{letter}\" ")).collect();
    // Lexers that learn ever more, which can be forgotten; and parsers that keep ever more of the text, or of what is
    // forced without end.
    let forms = [
        (Grammar::Regex("([a-d]*a[a-d]{13}e)*".into()), false),
        (Grammar::JsonSchema(names), false),
        (lark("start[capture]: /[a-z]/ start | /[a-z]/\n"), true),
        (lark("start: /[a-z]/ start | /[a-z]/ start | /[a-z]/\n"), true),
        (lark(&format!("start: (/[xy]/ {rows})+\n")), true),
        (lark("start: (/[xy]/ text)+\ntext[capture]: \"the description of the package and of its files\"\n"), true),
        (lark(&format!("start: /[xy]/ rest\nrest: \"{}\" rest\n", "description ".repeat(40))), true),
    ];
    for (grammar, ends) in forms {
        let Followed { said, held, error } = follow(&grammar, &vocabulary, 150);
        assert!(held < said + 2 * growth, "{held} bytes: {grammar:?}");
        assert_eq!(error.is_some_and(|error| error.contains("limits.form_growth_bytes")), ends, "{grammar:?}");
    }
}
