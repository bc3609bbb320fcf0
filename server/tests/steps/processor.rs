//! Padded steps and plans made ahead, on the processor.

use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use server::engine::ModelExecutor;

use crate::demo_engine::{DemoEngine, LIMITS, PAGES, encodings, load, requests, step_executor};

#[test]
fn on_the_processor_they_give_the_tokens_of_steps_that_are_run_one_by_one() {
    let cpu = || Cpu::new(Isa::detect(), 2);
    let direct = DemoEngine::start(ModelExecutor::new(load(cpu(), Precision::F32), PAGES, LIMITS).unwrap());
    let ahead = DemoEngine::start(step_executor(cpu(), Precision::F32));
    let requests = requests(24);
    let expected = direct.together(&requests);
    assert!(expected.iter().flatten().all(|tokens| !tokens.is_empty()));
    assert_eq!(ahead.together(&requests), expected);
    assert_eq!(ahead.one_by_one(&requests), expected);
    assert_eq!(ahead.together(&requests), expected, "whatever the engine did before");
}

#[test]
fn on_the_processor_encoder_results_are_the_same_beside_steps_that_are_made_ahead() {
    let cpu = || Cpu::new(Isa::detect(), 2);
    let direct = DemoEngine::start(ModelExecutor::new(load(cpu(), Precision::F32), PAGES, LIMITS).unwrap());
    let ahead = DemoEngine::start(step_executor(cpu(), Precision::F32));
    let (requests, encodings) = (requests(24), encodings());
    let (answers, results) = (direct.together(&requests), direct.encoded(&encodings));
    assert!(results.iter().all(|numbers| numbers.iter().any(|number| *number != 0.0)));
    assert_eq!(ahead.encoded(&encodings), results);
    assert_eq!(ahead.beside(&requests, &encodings), (answers, results));
}
