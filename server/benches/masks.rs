//! The cost of masks: `cargo bench -p server --bench masks -- TOKENIZER.json`, by default with the demo's tokenizer.
//!
//! Walks at random through answers to schemas and prints the time of compiling, of a mask, and of a step on a token.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernels::math::philox;
use model::Tokenizer;
use serde_json::{Value, json};
use server::constraint::{Grammar, Targets, Vocabulary};
use server::request::Constraint;

const WALKS: u64 = 40;
const LONGEST: u32 = 200;
const DEMO: &str = "../model/demo/tokenizer.json";

/// Times of one kind of work.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.0.push(began.elapsed());
        done
    }

    /// Median, 99th percentile and largest, in microseconds.
    fn summary(&mut self) -> String {
        self.0.sort_unstable();
        let at = |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        format!("{:9.1} {:9.1} {:9.1}", at(0.5), at(0.99), at(1.0))
    }
}

fn schemas() -> Vec<(&'static str, Value)> {
    let record = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 40},
            "section": {"enum": ["libs", "utils", "doc", "games"]},
            "priority": {"type": "integer", "minimum": 1, "maximum": 250},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 5},
            "homepage": {"type": "string", "pattern": "^https://[a-z0-9.]{3,30}/[a-z]{0,20}$"},
        },
        "required": ["name", "section", "priority", "tags", "homepage"],
        "additionalProperties": false,
    });
    let object = |properties: Value| {
        let required: Vec<String> = properties.as_object().expect("an object").keys().cloned().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let strings = object(json!({
        "name": {"type": "string", "maxLength": 40},
        "kind": {"enum": ["editor", "library", "game", "server"]},
        "size": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 4},
    }));
    let format = |name: &str| json!({"type": "string", "format": name});
    vec![
        ("any object", json!({"type": "object"})),
        ("record", record.clone()),
        ("list of records", json!({"type": "array", "items": record, "minItems": 3})),
        (
            "nested",
            json!({
                "$defs": {"node": {"type": "object", "properties": {
                    "value": {"type": "number"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
                    "required": ["value", "children"]}},
                "$ref": "#/$defs/node",
            }),
        ),
        ("list of strings", json!({"type": "array", "items": strings, "minItems": 40})),
        (
            "formats",
            object(json!({"when": format("date-time"), "who": format("email"), "where": format("uri"),
                          "id": format("uuid")})),
        ),
        (
            "patterns",
            object(json!({
                "a": {"type": "string", "pattern": "^[A-Z][a-z]{2,20}( [A-Z][a-z]{2,20}){0,3}$"},
                "b": {"type": "string", "pattern": "^\\w{1,60}$"},
                "c": {"type": "string", "minLength": 5, "maxLength": 200},
            })),
        ),
    ]
}

fn walk(name: &str, constraint: &Constraint, vocabulary: &Vocabulary) {
    let (mut masks, mut steps, mut forks) = (Times::default(), Times::default(), Times::default());
    let mut words = Vec::new();
    for seed in 0..WALKS {
        let mut state = constraint.start();
        for position in 0..LONGEST {
            masks.of(|| state.write_allowed(&mut words)).expect("a mask is found");
            let count: u32 = words.iter().map(|word| word.count_ones()).sum();
            let wanted = philox(seed, [position, 0, 0, 0])[0] % count;
            let set = (0..vocabulary.size() as u32).filter(|&id| words[id as usize / 32] >> (id % 32) & 1 == 1);
            let token = set.into_iter().nth(wanted as usize).expect("it is below the count");
            forks.of(|| state.fork());
            steps.of(|| state.advance(token)).expect("the token was allowed");
            if vocabulary.ends(token) {
                break;
            }
        }
    }
    let masked = masks.0.len();
    println!(
        "{name:18} mask {}   step {}   fork {}   ({masked} masks)",
        masks.summary(),
        steps.summary(),
        forks.summary()
    );
}

fn main() {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let path = path.unwrap_or_else(|| format!("{}/{DEMO}", env!("CARGO_MANIFEST_DIR")));
    let tokenizer = Arc::new(Tokenizer::from_file(Path::new(&path)).expect("the tokenizer can be read"));
    let began = Instant::now();
    let vocabulary = Vocabulary::new(&tokenizer, tokenizer.vocab_size(), &[1]);
    println!(
        "{} ids, ready after {:.0?}; microseconds: median, 99th percentile, largest",
        vocabulary.size(),
        began.elapsed()
    );
    for (name, schema) in schemas() {
        let began = Instant::now();
        let constraint = Grammar::JsonSchema(schema).compile(&vocabulary).expect("the schema can be served");
        println!("{name:18} compiled in {:.1?}", began.elapsed());
        walk(name, &constraint, &vocabulary);
    }
    let texts: Vec<String> = (0..100_000).map(|n| format!("label {} of {}", n % 317, n / 317)).collect();
    let began = Instant::now();
    let targets = Targets::compile(&texts, &vocabulary).expect("texts can be tokenised");
    println!("{:18} compiled in {:.1?}", "100,000 targets", began.elapsed());
    walk("100,000 targets", &targets, &vocabulary);
}
