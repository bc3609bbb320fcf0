//! Forms of answers over a model that wants anything at all: every answer has its form, however it is decoded.

use std::sync::Arc;

use boon::{Compiler, Schemas};
use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Sampling};
use model::{Checkpoint, Tokenizer};
use serde_json::{Value, json};
use server::constraint::{Grammar, Targets, Vocabulary};
use server::engine::{Executor, MaskLimits, ModelExecutor};
use server::request::{BeamSearch, Constraint, Controls, EarlyStopping, GenerationRequest};

use crate::demo_engine::{DemoEngine, LIMITS, Room, load, step_executor};

/// So few that requests of one batch preempt each other.
const FEW_PAGES: usize = 15;
/// Makes all ids that are allowed equally likely.
const ANYTHING: f32 = 1e6;
const MAX_TOKENS: u32 = 62;
const NEIGHBOURS: usize = 3;

/// A form, and whether a text has it.
struct Form {
    constraint: Constraint,
    is_met: Box<dyn Fn(&str) -> bool>,
}

fn schema(schema: Value, vocabulary: &Vocabulary) -> Form {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("schema.json", schema.clone()).unwrap();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    let is_met =
        move |text: &str| serde_json::from_str(text).is_ok_and(|value: Value| schemas.validate(&value, index).is_ok());
    let constraint = Grammar::JsonSchema(schema).compile(vocabulary).unwrap();
    Form { constraint, is_met: Box::new(is_met) }
}

fn forms(vocabulary: &Vocabulary) -> Vec<Form> {
    let closed = |properties: Value| {
        let names: Vec<&String> = properties.as_object().unwrap().keys().collect();
        json!({
            "type": "object", "required": names, "properties": properties, "additionalProperties": false,
            "x-guidance": {"whitespace_flexible": false},
        })
    };
    let number = json!({"type": "integer", "minimum": -3, "maximum": 120});
    let mut forms: Vec<Form> = [
        closed(json!({"a": number, "b": {"type": "boolean"}})),
        closed(
            json!({"name": {"type": "string", "minLength": 2, "maxLength": 5}, "kind": {"enum": ["x", "yz", null]}}),
        ),
        closed(json!({"id": {"type": "string", "pattern": "^[a-c]{2}-[0-9]{1,3}$"}})),
        closed(json!({"list": {"type": "array", "items": number, "minItems": 1, "maxItems": 3}})),
        closed(json!({"deep": closed(json!({"deeper": {"anyOf": [number, {"type": "null"}]}}))})),
    ]
    .into_iter()
    .map(|one| schema(one, vocabulary))
    .collect();
    let digits = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let constraint = Grammar::Regex("[0-9]{4}".into()).compile(vocabulary).unwrap();
    forms.push(Form { constraint, is_met: Box::new(digits) });
    let names = ["library", "library for icons", "a tool", "icons"];
    let constraint = Targets::compile(&names, vocabulary).unwrap();
    forms.push(Form { constraint, is_met: Box::new(move |text| names.contains(&text)) });
    forms
}

/// Requests under a constraint, decoded in different ways.
fn requests(constraint: &Constraint, source: &[u32], seed: u64) -> Vec<GenerationRequest> {
    let sampling = Sampling { temperature: ANYTHING, seed, ..Sampling::GREEDY };
    let plain = GenerationRequest {
        constraint: Some(constraint.clone()),
        sampling,
        ..GenerationRequest::new(source, MAX_TOKENS)
    };
    let beams = BeamSearch { width: 3, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
    let controls = Controls { repetition_penalty: 1.7, no_repeat_ngram: 0, ..Controls::default() };
    vec![
        GenerationRequest { choices: 3, ..plain.clone() },
        GenerationRequest { beams: Some(beams), choices: 2, sampling: Sampling::GREEDY, ..plain.clone() },
        GenerationRequest { min_tokens: 20, log_probs: Some(1), ..plain.clone() },
        GenerationRequest { controls: Arc::new(controls), sampling: Sampling::GREEDY, ..plain },
    ]
}

#[test]
fn every_answer_has_its_form_however_it_is_decoded_and_preempted() {
    let checkpoint = Checkpoint::embedded().unwrap();
    let tokenizer = Arc::new(Tokenizer::from_bytes(&checkpoint.tokenizer_json().unwrap().unwrap()).unwrap());
    let ends = checkpoint.config().end_tokens.clone();
    let vocabulary = Vocabulary::new(&tokenizer, checkpoint.config().decoder.vocab, &ends);
    let forms = forms(&vocabulary);
    let source = tokenizer.encode_with_special_tokens("A small library to read configuration files.").unwrap();
    let cpu = || Cpu::new(Isa::detect(), 2);
    let direct = ModelExecutor::new(load(cpu(), Precision::F32), FEW_PAGES, LIMITS).unwrap();
    let executors: [Box<dyn Executor>; 2] = [Box::new(direct), Box::new(step_executor(cpu(), Precision::F32))];
    let asked: Vec<(usize, GenerationRequest)> = (0..forms.len())
        .flat_map(|form| {
            requests(&forms[form].constraint, &source, form as u64).into_iter().map(move |one| (form, one))
        })
        .collect();
    // Neighbours that grow and take the pages of those behind them.
    let neighbour = GenerationRequest { ignore_end: true, ..GenerationRequest::new(&*source, MAX_TOKENS) };
    let neighbours = vec![neighbour; NEIGHBOURS];
    let all: Vec<GenerationRequest> = neighbours.into_iter().chain(asked.iter().map(|(_, one)| one.clone())).collect();
    let mut expected = None;
    for executor in executors {
        let room = Room { pages: FEW_PAGES, source_page_tokens: 16, rows: 8, masks: MaskLimits::default() };
        let engine = DemoEngine::of(checkpoint.config(), executor, room);
        let answers = engine.together(&all);
        let mut whole = 0;
        for ((form, request), answer) in asked.iter().zip(&answers[NEIGHBOURS..]) {
            for tokens in answer.iter().filter(|tokens| tokens.last().is_some_and(|last| ends.contains(last))) {
                let text = tokenizer.decode(&tokens[..tokens.len() - 1]);
                assert!((forms[*form].is_met)(&text), "{text:?} of {request:?}");
                whole += 1;
            }
        }
        let count: usize = answers[NEIGHBOURS..].iter().map(Vec::len).sum();
        assert!(whole * 10 > count * 9, "{whole} of {count} are whole");
        assert!(engine.preemptions() > 0);
        assert_eq!(*expected.get_or_insert(answers.clone()), answers, "the same on both executors");
    }
}
