//! Controls on real models: transformers' tokens, and the same tokens from all logits and from the screened output.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Sampling};
use model::{Checkpoint, Model, WorkspaceLimits};
use proptest::prelude::*;
use serde_json::Value;
use server::engine::{Executor, MaskLimits, ModelExecutor, StepExecutor, StepSizes};
use server::request::{Controls, GenerationRequest, TokenBias};

use crate::demo_engine::{DemoEngine, Room};

const ROWS: usize = 32;
const LIMITS: WorkspaceLimits = WorkspaceLimits { lane_rows: [64, 1024], target_rows: ROWS, logits_rows: ROWS };

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

/// An engine on a fixture: it computes when called, or pads steps and runs ahead.
fn engine(name: &str, pages: usize, runs_ahead: bool) -> DemoEngine {
    let checkpoint = Checkpoint::open(&folder(name)).unwrap();
    let config = checkpoint.config().clone();
    let model = Model::load(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, &mut |_| ()).unwrap();
    let executor: Box<dyn Executor> = if runs_ahead {
        let sizes = StepSizes { rows: vec![1, 8], source_tokens: 100, target_tokens: 40 };
        Box::new(StepExecutor::new(model, pages, LIMITS, &sizes).unwrap())
    } else {
        Box::new(ModelExecutor::new(model, pages, LIMITS).unwrap())
    };
    DemoEngine::of(&config, executor, Room { pages, source_page_tokens: 16, rows: ROWS, masks: MaskLimits::default() })
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// A case of transformers without beams.
pub struct Case {
    pub options: String,
    pub asked: GenerationRequest,
    pub expected: Vec<u32>,
}

pub fn cases(name: &str) -> Vec<Case> {
    let read = |file: &str| serde_json::from_slice::<Value>(&std::fs::read(folder(name).join(file)).unwrap()).unwrap();
    let (texts, decoding) = (read("cases.json"), read("decoding.json"));
    let plain = decoding.as_array().unwrap().iter().filter(|case| case["options"]["num_beams"].is_null());
    let case = |case: &Value| {
        let mut expected = ids(&case["ids"][0]);
        let max_tokens = u32::try_from(expected.len()).unwrap();
        // After the end token transformers pads.
        let end = expected.iter().position(|&id| id == 1);
        expected.truncate(end.map_or(expected.len(), |end| end + 1));
        let source = ids(&texts[case["case"].as_u64().unwrap() as usize]["input_ids"]);
        let controls = Arc::new(controls(&case["options"]));
        let asked = GenerationRequest { controls, ..GenerationRequest::new(source, max_tokens) };
        Case { options: case["options"].to_string(), asked, expected }
    };
    plain.map(case).collect()
}

/// Controls as `generate` of transformers names them.
fn controls(options: &Value) -> Controls {
    let mut controls = Controls::default();
    for (option, value) in options.as_object().unwrap() {
        match option.as_str() {
            "repetition_penalty" => controls.repetition_penalty = value.as_f64().unwrap() as f32,
            "no_repeat_ngram_size" => controls.no_repeat_ngram = u32::try_from(value.as_u64().unwrap()).unwrap(),
            "bad_words_ids" => controls.bad_words = value.as_array().unwrap().iter().map(ids).collect(),
            "suppress_tokens" => controls.banned = ids(value),
            // Of several biases of an id, transformers takes the last.
            "sequence_bias" => {
                let bias = |pair: &Value| TokenBias { id: ids(&pair[0])[0], bias: pair[1].as_f64().unwrap() as f32 };
                controls.biases = value.as_array().unwrap().iter().rev().map(bias).collect();
            }
            other => panic!("an option without meaning here: {other}"),
        }
    }
    controls.in_order()
}

#[test]
fn controls_give_transformers_tokens_alone_and_in_mixed_batches_with_preemption() {
    for name in ["t5gemma-balanced", "t5gemma-unbalanced"] {
        let cases = cases(name);
        assert!(cases.len() >= 18, "cases of each option");
        let alone: Vec<GenerationRequest> = cases.iter().map(|case| case.asked.clone()).collect();
        // Neighbours without controls, with others, and drawn ones.
        let neighbours = alone.iter().enumerate().map(|(index, asked)| GenerationRequest {
            controls: if index % 2 == 0 { Arc::default() } else { Arc::clone(&asked.controls) },
            sampling: Sampling { temperature: 0.9, seed: index as u64, ..Sampling::GREEDY },
            ..asked.clone()
        });
        let mixed: Vec<GenerationRequest> = alone.iter().cloned().zip(neighbours).flat_map(<[_; 2]>::from).collect();
        for runs_ahead in [false, true] {
            let roomy = engine(name, 200, runs_ahead);
            let answers = roomy.one_by_one(&alone);
            for (case, answer) in cases.iter().zip(&answers) {
                assert_eq!(answer[0], case.expected, "{name}: {}", case.options);
            }
            let scarce = engine(name, 44, runs_ahead);
            let together: Vec<_> = scarce.together(&mixed).into_iter().step_by(2).collect();
            assert_eq!(together, answers, "{name}");
            assert!(scarce.preemptions() > 0, "pages are scarce");
        }
    }
}

prop_compose! {
    fn any_controls()(
        repetition_penalty in prop_oneof![Just(1.0f32), 0.8f32..1.5],
        presence_penalty in prop_oneof![Just(0.0f32), -1.0f32..2.0],
        frequency_penalty in prop_oneof![Just(0.0f32), -1.0f32..2.0],
        no_repeat_ngram in 0u32..4,
        biases in prop::collection::vec((0u32..512, -20f32..20.0), 0..8),
        allowed in prop::option::weighted(0.3, prop::collection::vec(0u32..512, 60..400)),
        banned in prop::collection::vec(0u32..512, 0..100),
        bad_words in prop::collection::vec(prop::collection::vec(0u32..512, 1..3), 0..40),
    ) -> Controls {
        let biases = biases.into_iter().map(|(id, bias)| TokenBias { id, bias }).collect();
        let allowed = allowed.map(|ids| ids.into_iter().collect());
        Controls {
            repetition_penalty, presence_penalty, frequency_penalty, no_repeat_ngram, biases, allowed, banned,
            bad_words, ..Controls::default()
        }.in_order()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// A request with log-probabilities needs all logits of each row, one without reads the screened output.
    #[test]
    fn the_screened_output_gives_the_tokens_of_all_logits_under_any_controls(
        asked in prop::collection::vec((any_controls(), prop_oneof![Just(0.0f32), Just(0.7)], 0u32..20), 6),
    ) {
        let request = |(index, (controls, temperature, top_k)): (usize, (Controls, f32, u32))| GenerationRequest {
            controls: Arc::new(controls),
            sampling: Sampling { temperature, top_k: top_k + 1, seed: 9, ..Sampling::GREEDY },
            ignore_end: true,
            ..GenerationRequest::new(vec![2, 40 + index as u32, 77, 300], 16)
        };
        let screened: Vec<GenerationRequest> = asked.into_iter().enumerate().map(request).collect();
        let scored = |asked: &GenerationRequest| GenerationRequest { log_probs: Some(0), ..asked.clone() };
        let whole: Vec<GenerationRequest> = screened.iter().map(scored).collect();
        let engine = engine("t5gemma-balanced", 100, false);
        prop_assert_eq!(engine.together(&screened), engine.together(&whole));
    }
}
