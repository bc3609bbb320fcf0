//! Beam searches inside the continuous batch against transformers' hypotheses and scores, alone and among others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Sampling};
use model::{Checkpoint, EncoderCost, Model, WorkspaceLimits};
use serde_json::Value;
use server::engine::{
    Engine, EngineLimits, EngineSettings, Executor, Generation, MaskLimits, ModelExecutor, StepExecutor, StepSizes,
};
use server::request::{BeamSearch, Controls, EarlyStopping, GenerationEvent, GenerationRequest, Rating, Salt};
use server::scheduler::{BoundaryTokens, PoolSize, SchedulerLimits};
use server::telemetry::EngineMetrics;

pub const PAIRS: [&str; 2] = ["t5gemma-balanced", "t5gemma-unbalanced"];
/// Pairs of the second generation, with searches of one kind.
const SECOND: [&str; 2] = ["t5gemma2-tiny", "t5gemma2-scaled"];
/// Tolerance that the fixtures were published with.
const SCORES: f64 = 1e-3;
const ROWS: usize = 32;
pub const ROOMY: usize = 400;
/// Pages that hold the widest search, and not all that runs beside it.
pub const SCARCE: usize = 48;

/// A case of `decoding.json`.
#[derive(Clone)]
pub struct Case {
    pub request: GenerationRequest,
    pub ends: Vec<u32>,
    /// Hypotheses, best first, padded with the first end token.
    ids: Vec<Vec<u32>>,
    scores: Vec<f64>,
}

fn json(pair: &str, file: &str) -> Value {
    let path = folder(pair).join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn folder(pair: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(pair)
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// The number of tokens that the search of a case may generate, which its options leave out.
fn max_tokens(width: u64) -> u32 {
    match width {
        2 => 20,
        4 => 12,
        16 => 8,
        _ => 10,
    }
}

/// The beam searches of a pair of the second generation: four beams of 24 tokens for each text.
fn cases_of_second(pair: &str) -> Vec<Case> {
    let ends = match &json(pair, "generation_config.json")["eos_token_id"] {
        several @ Value::Array(_) => read(several),
        single => vec![read(single)],
    };
    let case = |text: &Value| {
        let source: Vec<u32> = read(&text["input_ids"]);
        let beams = BeamSearch { width: 4, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
        let request = GenerationRequest { choices: 4, beams: Some(beams), ..GenerationRequest::new(source, 24) };
        let hypotheses = text["beam4"].as_array().unwrap().iter();
        let (ids, scores) = hypotheses.map(|found| (read(&found["ids"]), found["score"].as_f64().unwrap())).unzip();
        Case { request, ends: ends.clone(), ids, scores }
    };
    json(pair, "cases.json")["text_cases"].as_array().unwrap().iter().map(case).collect()
}

/// The beam searches of a pair.
fn cases(pair: &str) -> Vec<Case> {
    if SECOND.contains(&pair) {
        return cases_of_second(pair);
    }
    let sources = json(pair, "cases.json");
    let case = |case: &Value| {
        let options = &case["options"];
        let width = options["num_beams"].as_u64()?;
        let penalty = |name: &str| options.get(name).and_then(Value::as_f64);
        let controls = Controls {
            repetition_penalty: penalty("repetition_penalty").unwrap_or(1.0) as f32,
            no_repeat_ngram: penalty("no_repeat_ngram_size").unwrap_or(0.0) as u32,
            ..Controls::default()
        };
        let source: Vec<u32> = read(&sources[case["case"].as_u64().unwrap() as usize]["input_ids"]);
        let early_stopping = match &options["early_stopping"] {
            Value::String(_) => EarlyStopping::Impossible,
            Value::Bool(true) => EarlyStopping::Full,
            _ => EarlyStopping::Unlikely,
        };
        let beams = BeamSearch {
            width: width as u32,
            length_penalty: options["length_penalty"].as_f64().unwrap_or(1.0),
            early_stopping,
        };
        let request = GenerationRequest {
            choices: options["num_return_sequences"].as_u64().unwrap() as u32,
            beams: Some(beams),
            controls: Arc::new(controls),
            min_tokens: options["min_new_tokens"].as_u64().unwrap_or(0) as u32,
            ..GenerationRequest::new(source, max_tokens(width))
        };
        let ends = options.get("eos_token_id").map_or_else(|| vec![1], read);
        Some(Case { request, ends, ids: read(&case["ids"]), scores: read(&case["scores"]) })
    };
    json(pair, "decoding.json").as_array().unwrap().iter().filter_map(case).collect()
}

/// An engine on a pair, drained and joined when it is dropped.
pub struct PairEngine {
    engine: Option<Engine>,
    pub metrics: Arc<EngineMetrics>,
}

/// The executors that are compared.
#[derive(Clone, Copy)]
pub enum Kind {
    Direct,
    Padded,
}

impl PairEngine {
    pub fn start(pair: &str, kind: Kind, pages: usize, ends: &[u32]) -> Self {
        Self::of(&folder(pair), kind, pages, ends)
    }

    /// An engine on the checkpoint in a folder.
    pub fn of(folder: &Path, kind: Kind, pages: usize, ends: &[u32]) -> Self {
        let checkpoint = Checkpoint::open(folder).unwrap();
        let config = checkpoint.config().clone();
        let model = Model::load(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, &mut |_| ()).unwrap();
        let space = WorkspaceLimits { lane_rows: [64, 512], target_rows: ROWS, logits_rows: ROWS };
        let executor: Box<dyn Executor> = match kind {
            Kind::Direct => Box::new(ModelExecutor::new(model, pages, space).unwrap()),
            Kind::Padded => {
                let sizes = StepSizes { rows: vec![4], source_tokens: 512, target_tokens: 64 };
                Box::new(StepExecutor::new(model, pages, space, &sizes).unwrap())
            }
        };
        let steps = SchedulerLimits {
            pool: PoolSize { pages, source_page_tokens: 16, pieces: executor.page_pieces() },
            running_rows: ROWS,
            call_rows: ROWS,
            step_rows: ROWS,
            step_encoder_tokens: 64,
            draft_rows: 16,
            encoder: EncoderCost::of(&config.encoder),
        };
        let limits = EngineLimits {
            queued_rows: 400,
            wait: server::overload::WaitLimits::default(),
            source_tokens: 512,
            target_tokens: 64,
            classes: 0,
            writes_alone: false,
            exact_steps: 0,
            masks: MaskLimits::default(),
            steps,
        };
        let tokens =
            BoundaryTokens { start: config.start_token, end: ends.to_vec(), vocabulary: config.decoder.vocab as u32 };
        let metrics = Arc::<EngineMetrics>::default();
        let settings = EngineSettings { limits, tokens, metrics: Arc::clone(&metrics) };
        Self { engine: Some(Engine::start(executor, settings).unwrap()), metrics }
    }

    pub fn submit(&self, request: &GenerationRequest) -> Generation {
        let handle = &self.engine.as_ref().unwrap().handle;
        handle.check(request.lengths()).unwrap();
        let places = request.sequences() * request.branches() as u32;
        handle.submit(handle.reserve(Salt::default(), places).unwrap(), request.clone()).unwrap()
    }
}

impl Drop for PairEngine {
    fn drop(&mut self) {
        let engine = self.engine.take().unwrap();
        engine.handle.drain();
        engine.join();
    }
}

/// Tokens of each choice, and how they were rated.
pub fn answer(mut generation: Generation, choices: u32) -> Vec<(Vec<u32>, Option<Rating>)> {
    let mut answers = vec![(Vec::new(), None); choices as usize];
    while let Some(event) = generation.blocking_next() {
        match event {
            GenerationEvent::Token { choice, id, .. } => answers[choice as usize].0.push(id),
            GenerationEvent::Rated { choice, rating } => answers[choice as usize].1 = Some(rating),
            GenerationEvent::Failed { message, .. } => panic!("{message}"),
            GenerationEvent::Started { .. }
            | GenerationEvent::SourceReady
            | GenerationEvent::Scored { .. }
            | GenerationEvent::Drafted { .. }
            | GenerationEvent::Finished { .. } => {}
        }
    }
    answers
}

/// Asserts that the engine's hypotheses are those of transformers.
pub fn check(pair: &str, case: &Case, generation: Generation) {
    let answers = answer(generation, case.request.choices);
    let name = format!("{pair} {:?} {:?}", case.request.beams, case.ends);
    for (((mut tokens, rating), ids), &score) in answers.into_iter().zip(&case.ids).zip(&case.scores) {
        let rating = rating.expect("a hypothesis is rated");
        assert!((f64::from(rating.score) - score).abs() < SCORES, "{name}: {rating:?}, not {score}");
        let divisor = (tokens.len() as f64).powf(case.request.beams.unwrap().length_penalty);
        assert!((f64::from(rating.log_prob) / divisor - score).abs() < SCORES, "{name}: {rating:?} of {tokens:?}");
        tokens.resize(ids.len(), case.ends[0]);
        assert_eq!(&tokens, ids, "{name}");
    }
}

/// Cases by their end tokens, which belong to an engine.
pub fn by_ends(pair: &str) -> Vec<Vec<Case>> {
    let (single, several): (Vec<_>, Vec<_>) = cases(pair).into_iter().partition(|case| case.ends.len() == 1);
    [single, several].into_iter().filter(|cases| !cases.is_empty()).collect()
}

#[test]
fn hypotheses_and_scores_are_those_of_transformers() {
    for pair in PAIRS.into_iter().chain(SECOND) {
        let mut checked = 0;
        for cases in by_ends(pair) {
            for kind in [Kind::Direct, Kind::Padded] {
                let engine = PairEngine::start(pair, kind, ROOMY, &cases[0].ends);
                for case in &cases {
                    check(pair, case, engine.submit(&case.request));
                    checked += 1;
                }
            }
        }
        assert!(checked > if SECOND.contains(&pair) { 11 } else { 120 }, "{checked} cases");
    }
}

/// Sampled and greedy requests that run between the searches.
fn others(cases: &[Case]) -> Vec<GenerationRequest> {
    let sampling = Sampling { temperature: 0.9, seed: 3, ..Sampling::GREEDY };
    let source = |index: usize| Arc::clone(&cases[index % cases.len()].request.source);
    let greedy =
        (0..6).map(|index| GenerationRequest { ignore_end: true, ..GenerationRequest::new(source(9 * index), 40) });
    let sampled = (0..6).map(|index| GenerationRequest {
        choices: 2,
        sampling,
        decoder_prompt: (10..30).collect(),
        ..GenerationRequest::new(source(7 * index), 30)
    });
    greedy.chain(sampled).collect()
}

#[test]
fn searches_and_other_requests_do_not_disturb_each_other_when_pages_are_scarce() {
    for pair in PAIRS.into_iter().chain(SECOND) {
        for cases in by_ends(pair) {
            for kind in [Kind::Direct, Kind::Padded] {
                let engine = PairEngine::start(pair, kind, SCARCE, &cases[0].ends);
                let others = others(&cases);
                let alone: Vec<_> = others.iter().map(|other| answer(engine.submit(other), other.choices)).collect();
                let before = engine.metrics.preemptions.get();
                let mut running = Vec::new();
                let mut beside = others.iter().map(|other| (other, engine.submit(other))).collect::<Vec<_>>();
                for case in &cases {
                    running.push((case, engine.submit(&case.request)));
                }
                for (case, generation) in running {
                    check(pair, case, generation);
                }
                let together: Vec<_> =
                    beside.drain(..).map(|(other, generation)| answer(generation, other.choices)).collect();
                assert_eq!(together, alone, "{pair}");
                assert!(engine.metrics.preemptions.get() > before, "nothing was preempted");
            }
        }
    }
}
