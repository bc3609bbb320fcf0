//! Answers of a model that wants anything at all, under hundreds of schemas, judged by another reader of JSON Schema.

use std::sync::{Arc, LazyLock};

use boon::{Compiler, SchemaIndex, Schemas};
use kernels::math::philox;
use model::Tokenizer;
use serde_json::{Map, Value, json};

use super::{Grammar, Vocabulary};

/// `<eos>` and `<end_of_turn>` of the demo.
const ENDS: [u32; 2] = [1, 6];
const SCHEMAS: u64 = 400;
const ANSWERS: u64 = 3;
/// Tokens of the longest walk.
const LONGEST: u32 = 4000;

static DEMO: LazyLock<Vocabulary> = LazyLock::new(|| {
    let tokenizer = Tokenizer::from_bytes(include_bytes!("../../../model/demo/tokenizer.json")).unwrap();
    let size = tokenizer.vocab_size();
    Vocabulary::new(&Arc::new(tokenizer), size, &ENDS)
});

const PATTERNS: [&str; 3] = ["^[a-z]{2}-[0-9]{1,3}$", "^(yes|no)$", "^[^\\s\"]{1,4}$"];

/// Random numbers in order.
struct Dice {
    seed: u64,
    count: u32,
}

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u32) -> u32 {
        self.count += 1;
        philox(self.seed, [self.count, 0, 0, 0])[0] % sides
    }

    fn flip(&mut self) -> bool {
        self.roll(2) == 0
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u32) as usize].clone()
    }
}

/// A schema whose answers have a bounded length.
fn schema(dice: &mut Dice, depth: u32) -> Value {
    match dice.roll(if depth == 0 { 8 } else { 13 }) {
        0 => text(dice),
        1 => integer(dice),
        2 => number(dice),
        3 => json!({"type": dice.pick(&["boolean", "null"])}),
        4 => json!({"enum": [1, "two", null, true, {"three": [3]}, 4.5, "\"é\n"]}),
        5 => json!({"const": dice.pick(&[json!("a"), json!(-7), json!([1, {"b": null}]), json!("\u{1f600} \\")])}),
        6 => json!({"type": "string", "pattern": dice.pick(&PATTERNS)}),
        7 => json!({"type": "string", "format": dice.pick(&["date", "ipv4", "uuid"])}),
        8 => list(dice, depth),
        9 => json!({"anyOf": [schema(dice, depth - 1), schema(dice, depth - 1)]}),
        10 => json!({"type": ["string", "null", "integer"], "maxLength": 5, "minimum": 0, "maximum": 99}),
        _ => object(dice, depth),
    }
}

fn text(dice: &mut Dice) -> Value {
    let least = dice.roll(4);
    json!({"type": "string", "minLength": least, "maxLength": least + dice.roll(9)})
}

fn integer(dice: &mut Dice) -> Value {
    let least = i64::from(dice.roll(2000)) - 1000;
    let most = least + i64::from(dice.roll(500)) + 7;
    let mut schema = match dice.roll(3) {
        0 => json!({"exclusiveMinimum": least, "maximum": most}),
        1 => json!({"minimum": least, "exclusiveMaximum": most}),
        _ => json!({"minimum": least, "maximum": most}),
    };
    schema["type"] = json!("integer");
    if dice.flip() {
        schema["multipleOf"] = json!(dice.roll(5) + 1);
    }
    schema
}

fn number(dice: &mut Dice) -> Value {
    let least = f64::from(dice.roll(100)) / 4.0 - 12.0;
    json!({"type": "number", "minimum": least, "maximum": least + f64::from(dice.roll(40)) / 8.0 + 0.5})
}

fn list(dice: &mut Dice, depth: u32) -> Value {
    let least = dice.roll(3);
    let mut list = json!({"type": "array", "items": schema(dice, depth - 1), "minItems": least});
    list["maxItems"] = json!(least + dice.roll(3));
    if dice.roll(3) == 0 {
        list["prefixItems"] = json!([schema(dice, 0), schema(dice, 0)]);
    }
    list
}

fn object(dice: &mut Dice, depth: u32) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for name in ["name", "kind of \"thing\"", "größe", "id", "nested"].iter().take(1 + dice.roll(5) as usize) {
        if dice.flip() {
            required.push(*name);
        }
        properties.insert((*name).to_owned(), schema(dice, depth - 1));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A schema whose parts are told by reference.
fn with_references(schema: Value) -> Value {
    json!({"$ref": "#/$defs/whole", "$defs": {"whole": {"$ref": "#/$defs/part"}, "part": schema}})
}

/// Another reader of a schema.
struct Judge {
    schemas: Schemas,
    schema: SchemaIndex,
}

impl Judge {
    fn new(schema: &Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        compiler.add_resource("schema.json", schema.clone()).unwrap();
        let schema = compiler.compile("schema.json", &mut schemas).unwrap();
        Self { schemas, schema }
    }
}

/// The text of a walk that takes any allowed token.
fn walk(grammar: &Value, constraint: &crate::request::Constraint, seed: u64) -> String {
    let mut state = constraint.start();
    let (mut ids, mut words) = (Vec::new(), Vec::new());
    for position in 0..LONGEST {
        state.write_allowed(&mut words).unwrap();
        let bit = |id: &u32| words[*id as usize / 32] >> (id % 32) & 1 == 1;
        let choices: Vec<u32> = (0..DEMO.size() as u32).filter(bit).collect();
        let random = philox(seed, [position, 1, 0, 0]);
        let end = choices.iter().find(|id| ENDS.contains(id)).filter(|_| random[1].is_multiple_of(2));
        let id = *end.unwrap_or_else(|| &choices[random[0] as usize % choices.len()]);
        state.advance(id).unwrap();
        if ENDS.contains(&id) {
            return DEMO.tokenizer.decode(&ids);
        }
        ids.push(id);
    }
    panic!("no end: {grammar}: {}", DEMO.tokenizer.decode(&ids));
}

#[test]
fn answers_under_hundreds_of_schemas_are_valid_to_another_reader() {
    let mut refused = Vec::new();
    for seed in 0..SCHEMAS {
        let mut dice = Dice { seed, count: 0 };
        let plain = schema(&mut dice, 3);
        let schema = if dice.roll(4) == 0 { with_references(plain) } else { plain };
        let constraint = match Grammar::JsonSchema(schema.clone()).compile(&DEMO) {
            Ok(constraint) => constraint,
            Err(error) => {
                refused.push(format!("{error}: {schema}"));
                continue;
            }
        };
        let judge = Judge::new(&schema);
        for answer in 0..ANSWERS {
            let text = walk(&schema, &constraint, seed * ANSWERS + answer);
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}: {schema}"));
            judge.schemas.validate(&value, judge.schema).unwrap_or_else(|error| panic!("{error}: {text}: {schema}"));
        }
    }
    // An integer of a range without a multiple is impossible.
    assert!(refused.len() < SCHEMAS as usize / 20, "{refused:#?}");
}
