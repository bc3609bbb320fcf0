//! A request's tokens and encoder results do not depend on the requests that run beside it.

use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use kernels::cuda::{Cuda, Device};
use server::engine::ModelExecutor;
use server::request::EncodeRequest;

use crate::demo_engine::{Answer, DemoEngine, LIMITS, PAGES, encodings, load, requests, step_executor};

/// Compares answers in a batch with answers alone, where products of any number of rows are computed alike; encoder
/// results too. Returns the answers.
fn in_a_batch_they_give_the_tokens_of_requests_that_are_alone<D: Device>(
    backend: Cuda<D>,
    max_tokens: u32,
) -> Vec<Answer> {
    let engine = DemoEngine::start(step_executor(backend.deterministic(), Precision::Bf16));
    let requests = requests(max_tokens);
    let alone = engine.one_by_one(&requests);
    assert!(alone.iter().flatten().all(|tokens| !tokens.is_empty()));
    assert_eq!(engine.together(&requests), alone);
    // Making an engine takes longer than all this, so it is asked for encoder results as well.
    encoder_results_follow_the_processor_alone_and_beside_steps(&engine);
    alone
}

/// Encoder results of an engine are those of the processor up to rounding, whatever runs beside them.
fn encoder_results_follow_the_processor_alone_and_beside_steps(engine: &DemoEngine) {
    let processor = Cpu::new(Isa::detect(), 1);
    let exact = DemoEngine::start(ModelExecutor::new(load(processor, Precision::F32), PAGES, LIMITS).unwrap());
    // One that is longer than a batch, and a short one.
    let asked: Vec<EncodeRequest> =
        encodings().into_iter().filter(|asked| [65, 12].contains(&asked.tokens())).collect();
    let alone = engine.encoded(&asked);
    for (own, exact) in alone.iter().flatten().zip(exact.encoded(&asked).iter().flatten()) {
        assert!((own - exact).abs() < 0.05 * exact.abs().max(4.0), "{own}, not {exact}");
    }
    assert_eq!(engine.beside(&requests(2)[..1], &asked).1, alone);
}

#[cfg(feature = "cuda-shim")]
#[test]
fn through_the_shim_tokens_in_a_batch_are_those_alone() {
    let backend = Cuda::new(kernels::cuda::Shim::new(1)).unwrap();
    in_a_batch_they_give_the_tokens_of_requests_that_are_alone(backend, 6);
}

/// Few tokens, for a stand-in that takes a GPU's place on the processor.
#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_short_answers_in_a_batch_are_those_alone() {
    if let Some(gpu) = crate::gpu() {
        in_a_batch_they_give_the_tokens_of_requests_that_are_alone(gpu.overlapping(), 6);
    }
}

#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_tokens_in_a_batch_are_those_alone() {
    let Some(gpu) = crate::gpu() else { return };
    let plain = in_a_batch_they_give_the_tokens_of_requests_that_are_alone(gpu, 40);
    // Overlapping kernels change no token, however often they run.
    for _ in 0..4 {
        let gpu = crate::gpu().unwrap().overlapping();
        assert_eq!(in_a_batch_they_give_the_tokens_of_requests_that_are_alone(gpu, 40), plain);
    }
}

/// Without `deterministic`, a source encoded together with others may be rounded differently, and near a tie another
/// token wins. The test prints how many of the demo's answers differ.
#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_the_fast_default_seldom_gives_other_tokens_in_a_batch() {
    let Some(gpu) = crate::gpu() else { return };
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/demo-expected.jsonl");
    let rows = std::fs::read_to_string(file).unwrap();
    let sources = rows.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        serde_json::from_value::<Vec<u32>>(row["input_ids"].clone()).unwrap()
    });
    let all: Vec<_> = sources.map(|source| server::request::GenerationRequest::new(source, 48)).collect();
    let engine = DemoEngine::start(step_executor(gpu, Precision::Bf16));
    let (mut differ, mut tokens_differ, mut tokens) = (0, 0, 0);
    for requests in all.chunks(12) {
        let (alone, together) = (engine.one_by_one(requests), engine.together(requests));
        for (alone, among) in alone.iter().flatten().zip(together.iter().flatten()) {
            differ += usize::from(alone != among);
            tokens += alone.len();
            tokens_differ += alone.iter().zip(among).filter(|(alone, among)| alone != among).count();
        }
    }
    println!(
        "{differ} of {} answers differ in a batch from those alone, {tokens_differ} of {tokens} tokens",
        all.len()
    );
    assert!(differ * 5 <= all.len(), "{differ} of {} answers differ", all.len());
}
