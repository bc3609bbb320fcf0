//! Steps that are padded, replayed and planned ahead give the tokens of steps that are not: on the processor, on CUDA's
//! kernels through the shim, and on a GPU if there is one.
#![allow(clippy::unwrap_used)]

use kernels::cpu::{Cpu, Isa};
use kernels::cuda::{Cuda, Device};
use kernels::{Backend, Choice, NO_PLACE, PageSpan, Precision, Sampling};
use model::{Checkpoint, Model, Tokenizer, WorkspaceLimits};
use server::engine::{Engine, EngineLimits, EngineSettings, Executor, ModelExecutor, StepExecutor, StepSizes};
use server::request::{GenerationEvent, GenerationRequest, Salt};
use server::scheduler::{BoundaryTokens, Output, Plan, PoolSize, SchedulerLimits, TargetBatch};
use server::telemetry::Metrics;

const PAGES: usize = 64;
const STEP_ROWS: usize = 24;
const LIMITS: WorkspaceLimits = WorkspaceLimits { source_rows: 256, target_rows: STEP_ROWS, logits_rows: STEP_ROWS };
/// Sizes of steps; the last one is the limit.
const SIZES: [usize; 3] = [1, 4, 64];
const TEXTS: [&str; 6] = [
    "This package contains the header files.",
    "A small library to read configuration files, with bindings for Python.",
    "Icons",
    "This is the default icon theme for the KDE Plasma 5 desktop.\nThis package is part of the Breeze theme module.",
    "Tool to convert images between formats.",
    "Documentation for developers who want to write plugins in C.",
];

fn load<B: Backend>(backend: B, precision: Precision) -> Model<B> {
    Model::load(backend, &Checkpoint::embedded().unwrap(), precision, &mut |_| ()).unwrap()
}

fn executor<B: Backend>(backend: B, precision: Precision) -> StepExecutor<B> {
    let sizes = StepSizes { rows: SIZES.to_vec(), source_tokens: 150, target_tokens: 20 };
    StepExecutor::new(load(backend, precision), PAGES, LIMITS, &sizes).unwrap()
}

fn stepped<B: Backend>(backend: B, precision: Precision) -> Box<dyn Executor> {
    Box::new(executor(backend, precision))
}

/// Greedy, drawn, and with a decoder prompt whose rows are run together; some end by themselves.
fn requests(max_tokens: u32) -> Vec<GenerationRequest> {
    let json = Checkpoint::embedded().unwrap().tokenizer_json().unwrap().unwrap();
    let tokenizer = Tokenizer::from_bytes(&json).unwrap();
    let drawn = Sampling { temperature: 0.8, top_k: 50, top_p: 0.9, min_p: 0.0, seed: 5 };
    let request = |(index, text): (usize, &&str)| GenerationRequest {
        decoder_prompt: if index == 3 { tokenizer.encode("default icon", false).unwrap() } else { Vec::new() },
        choices: 1 + u32::from(index == 1),
        ignore_end: index == 2,
        sampling: if index % 2 == 1 { drawn } else { Sampling::GREEDY },
        log_probs: (index == 4).then_some(2),
        ..GenerationRequest::new(tokenizer.encode(text, true).unwrap(), max_tokens)
    };
    TEXTS.iter().enumerate().map(request).collect()
}

fn start(executor: Box<dyn Executor>) -> Engine {
    let steps = SchedulerLimits {
        pool: PoolSize { pages: PAGES, source_page_tokens: 16 },
        running_rows: 8,
        call_rows: 8,
        step_rows: STEP_ROWS,
        step_encoder_tokens: 64,
        encoder_layers: Checkpoint::embedded().unwrap().config().encoder.layers,
    };
    let limits = EngineLimits { queued_rows: 16, source_tokens: 256, target_tokens: 64, steps };
    let config = Checkpoint::embedded().unwrap().config().clone();
    let tokens = BoundaryTokens { start: config.start_token, end: config.end_tokens };
    Engine::start(executor, EngineSettings { limits, tokens, metrics: Metrics::new() }).unwrap()
}

/// Tokens of every choice of each request.
type Answers = Vec<Vec<Vec<u32>>>;

/// Asks for all at once, or for one after the other.
fn ask(engine: &Engine, requests: &[GenerationRequest], at_once: bool) -> Answers {
    let submit = |request: &GenerationRequest| {
        let choices = request.choices as usize;
        (engine.handle.submit(engine.handle.reserve(Salt::default(), 1).unwrap(), request.clone()).unwrap(), choices)
    };
    let read = |(mut generation, choices): (server::engine::Generation, usize)| {
        let mut tokens = vec![Vec::new(); choices];
        while let Some(event) = generation.blocking_next() {
            match event {
                GenerationEvent::Token { choice, id, .. } => tokens[choice as usize].push(id),
                GenerationEvent::Failed { message, .. } => panic!("{message}"),
                _ => {}
            }
        }
        tokens
    };
    if at_once {
        let running: Vec<_> = requests.iter().map(submit).collect();
        return running.into_iter().map(read).collect();
    }
    requests.iter().map(|request| read(submit(request))).collect()
}

/// Ends the engine.
fn end(engine: Engine) {
    engine.handle.drain();
    engine.join();
}

#[test]
fn on_the_processor_they_give_the_tokens_of_steps_that_are_run_one_by_one() {
    let cpu = || Cpu::new(Isa::detect(), 2);
    let direct = start(Box::new(ModelExecutor::new(load(cpu(), Precision::F32), PAGES, LIMITS).unwrap()));
    let ahead = start(stepped(cpu(), Precision::F32));
    let requests = requests(24);
    let expected = ask(&direct, &requests, true);
    assert!(expected.iter().flatten().all(|tokens| !tokens.is_empty()));
    for at_once in [true, false, true] {
        assert_eq!(ask(&ahead, &requests, at_once), expected, "at once: {at_once}");
    }
    [direct, ahead].into_iter().for_each(end);
}

/// Steps of any number of rows, as far along as those of the start, are none that are captured later.
#[allow(dead_code)]
fn steps_are_captured_at_the_start<D: Device>(backend: Cuda<D>) {
    let mut executor = executor(backend, Precision::Bf16);
    let graphs = |executor: &StepExecutor<Cuda<D>>| executor.model().backend().graphs();
    let captured = graphs(&executor);
    assert!(captured >= 2 * SIZES.len(), "{captured} graphs");
    let pages = u32::try_from(PAGES).unwrap();
    let mut decode = |rows: u32, source: u32, sampling: Sampling| {
        let mut plan = Plan::default();
        let count = rows as usize;
        plan.targets = TargetBatch {
            tokens: (10..10 + rows).collect(),
            places: vec![NO_PLACE; count],
            positions: (0..rows).map(|row| row % 16).collect(),
            // Each row has its own page for its target, all have the source.
            self_spans: (0..rows).map(|row| PageSpan { first: row, tokens: row % 16 + 1 }).collect(),
            cross_spans: vec![PageSpan { first: rows, tokens: source }; count],
            tables: (0..pages).collect(),
        };
        let draw = Some(Choice { sampling, choice: 0, position: 0, forbid_end: false });
        plan.outputs = (0..rows).map(|row| Output { row, is_scored: false, draw }).collect();
        let mut chosen = Vec::new();
        executor.decode(&plan).unwrap();
        executor.finish(&mut chosen).unwrap();
        assert!(chosen.len() == count && chosen.iter().all(Option::is_some));
        graphs(&executor)
    };
    let drawn = Sampling { temperature: 0.8, ..Sampling::GREEDY };
    for sampling in [Sampling::GREEDY, drawn, Sampling { top_k: 20, ..drawn }, Sampling { top_p: 0.9, ..drawn }] {
        for (rows, source) in [(1, 250), (3, 150), (4, 129), (20, 128), (24, 100), (24, 1)] {
            // Twice for either list of drawn ids.
            let graphs = [(); 4].map(|()| decode(rows, source, sampling));
            assert_eq!(graphs, [captured; 4], "{rows} rows, {source} tokens, {sampling:?}");
        }
    }
    let graphs = [(); 4].map(|()| decode(2, 300, Sampling::GREEDY));
    assert_eq!(graphs[3], captured + 2, "a longer source is a step of its own");
}

/// Where all products are multiplied alike, a request's tokens do not depend on what runs beside it.
#[allow(dead_code)]
fn in_a_batch_they_give_the_tokens_of_requests_that_are_alone<D: Device>(
    backend: Cuda<D>,
    max_tokens: u32,
) -> Vec<Vec<Vec<u32>>> {
    let engine = start(stepped(backend.deterministic(), Precision::Bf16));
    let requests = requests(max_tokens);
    let alone = ask(&engine, &requests, false);
    assert!(alone.iter().flatten().all(|tokens| !tokens.is_empty()));
    assert_eq!(ask(&engine, &requests, true), alone);
    end(engine);
    alone
}

#[cfg(feature = "cuda-shim")]
#[test]
fn through_the_shim_steps_are_captured_at_the_start() {
    steps_are_captured_at_the_start(Cuda::new(kernels::cuda::Shim::new(2)).unwrap());
}

#[cfg(feature = "cuda-shim")]
#[test]
fn through_the_shim_tokens_in_a_batch_are_those_alone() {
    let backend = Cuda::new(kernels::cuda::Shim::new(1)).unwrap();
    in_a_batch_they_give_the_tokens_of_requests_that_are_alone(backend, 6);
}

/// A machine without a GPU: its tests say so and check nothing, unless one was promised.
#[cfg(feature = "cuda")]
fn without_a_gpu() {
    assert!(std::env::var_os("ENCDEC_NEEDS_GPU").is_none(), "no GPU is found, nor what stands in for one");
    eprintln!("not run: this machine has no GPU");
}

/// Without `deterministic`, a source encoded together with others may be rounded differently, and near a tie another
/// token wins. The test prints how many of the demo's answers differ.
#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_the_fast_default_seldom_gives_other_tokens_in_a_batch() {
    if !kernels::cuda::is_present() {
        return without_a_gpu();
    }
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/demo-expected.jsonl");
    let rows = std::fs::read_to_string(file).unwrap();
    let sources = rows.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        serde_json::from_value::<Vec<u32>>(row["input_ids"].clone()).unwrap()
    });
    let plain = GenerationRequest { decoder_prompt: Vec::new(), choices: 1, log_probs: None, ..requests(48).remove(0) };
    let all: Vec<GenerationRequest> =
        sources.map(|source| GenerationRequest { source: source.into(), ..plain.clone() }).collect();
    let gpu = Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap();
    let engine = start(stepped(gpu, Precision::Bf16));
    let (mut differ, mut tokens_differ, mut tokens) = (0, 0, 0);
    for requests in all.chunks(12) {
        for (alone, among) in
            ask(&engine, requests, false).iter().flatten().zip(ask(&engine, requests, true).iter().flatten())
        {
            differ += usize::from(alone != among);
            tokens += alone.len();
            tokens_differ += alone.iter().zip(among).filter(|(alone, among)| alone != among).count();
        }
    }
    end(engine);
    println!(
        "{differ} of {} answers differ in a batch from those alone, {tokens_differ} of {tokens} tokens",
        all.len()
    );
    assert!(differ * 5 <= all.len(), "{differ} of {} answers differ", all.len());
}

#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_steps_are_captured_at_the_start() {
    if !kernels::cuda::is_present() {
        return without_a_gpu();
    }
    steps_are_captured_at_the_start(Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap());
}

/// A few tokens, for a GPU whose place the processor takes.
#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_short_answers_in_a_batch_are_those_alone() {
    if !kernels::cuda::is_present() {
        return without_a_gpu();
    }
    let gpu = Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap().overlapping();
    in_a_batch_they_give_the_tokens_of_requests_that_are_alone(gpu, 6);
}

#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_tokens_in_a_batch_are_those_alone() {
    if !kernels::cuda::is_present() {
        return without_a_gpu();
    }
    let gpu = || Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap();
    let plain = in_a_batch_they_give_the_tokens_of_requests_that_are_alone(gpu(), 40);
    // So they are where kernels overlap, however often.
    for _ in 0..4 {
        assert_eq!(in_a_batch_they_give_the_tokens_of_requests_that_are_alone(gpu().overlapping(), 40), plain);
    }
}
