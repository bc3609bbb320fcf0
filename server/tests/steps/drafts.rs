//! Drafted tokens on the demo: the answers are those of one token after the other.

use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Sampling};
use server::engine::{Executor, ModelExecutor};
use server::request::GenerationRequest;

use crate::demo_engine::{DemoEngine, LIMITS, PAGES, load, requests, step_executor};

/// Requests of several kinds, some of which repeat themselves sooner or later.
fn long_requests() -> Vec<GenerationRequest> {
    let cooled = |sampling: Sampling| Sampling { temperature: 0.3, ..sampling };
    let long = |asked: GenerationRequest| GenerationRequest { ignore_end: true, ..asked };
    let cold = requests(60).into_iter().map(|asked| GenerationRequest { sampling: cooled(asked.sampling), ..asked });
    requests(60).into_iter().map(long).chain(cold).collect()
}

/// At least so many drafted tokens must be right when requests run alone.
fn check(executor: impl Executor + 'static, least: u64) {
    let engine = DemoEngine::start(executor);
    let plain = long_requests();
    let drafted: Vec<_> = plain.iter().map(|asked| GenerationRequest { speculation: true, ..asked.clone() }).collect();
    let expected = engine.one_by_one(&plain);
    assert_eq!(engine.accepted_draft_tokens(), 0);
    assert_eq!(engine.one_by_one(&drafted), expected);
    let alone = engine.accepted_draft_tokens();
    assert!(alone >= least, "{alone} of some hundred tokens are accepted");
    assert_eq!(engine.together(&drafted), expected);
    assert!(engine.accepted_draft_tokens() > alone);
}

#[test]
fn drafts_change_no_token() {
    for precision in [Precision::F32, Precision::Bf16] {
        let cpu = Cpu::new(Isa::detect(), 2);
        check(ModelExecutor::new(load(cpu, precision), PAGES, LIMITS).unwrap(), 100);
    }
}

#[test]
fn drafts_change_no_token_of_an_executor_that_runs_ahead() {
    // A plan that is made ahead drafts nothing.
    check(step_executor(Cpu::new(Isa::detect(), 2), Precision::F32), 1);
}
