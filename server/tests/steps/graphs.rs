//! Steps of a size that was rehearsed at the start are replayed, not recorded anew.

use kernels::cuda::{Cuda, Device};
use kernels::{Draw, NO_PLACE, PageSpan, Precision, Sampling};
use model::PageTables;
use server::engine::{Executor, StepExecutor};
use server::scheduler::{Output, Plan, TargetBatch};

use crate::demo_engine::{PAGES, SIZES, step_executor};

/// A plan whose rows draw with this sampling from sources of `source` tokens.
fn plan(rows: u32, source: u32, sampling: Sampling) -> Plan {
    let (count, pages) = (rows as usize, u32::try_from(PAGES).unwrap());
    let mut plan = Plan::default();
    plan.targets = TargetBatch {
        tokens: (10..10 + rows).collect(),
        places: vec![NO_PLACE; count],
        positions: (0..rows).map(|row| row % 16).collect(),
        // Each row has a page of its own for its target; all read the same source.
        self_spans: (0..rows).map(|row| PageSpan { first: row, tokens: row % 16 + 1 }).collect(),
        cross_spans: vec![PageSpan { first: rows, tokens: source }; count],
        tables: PageTables::in_order(0..pages, 1),
    };
    let draw = |row| Some(Draw { sampling, ..Draw::greedy(row) });
    plan.outputs = (0..rows).map(|row| Output { row, is_scored: false, draw: draw(row), best: None }).collect();
    plan
}

/// Runs a plan and returns how many graphs are recorded by then.
fn graphs_after<D: Device>(executor: &mut StepExecutor<Cuda<D>>, plan: &Plan) -> usize {
    let mut chosen = Vec::new();
    executor.decode(plan).unwrap();
    executor.draw(plan).unwrap();
    executor.finish(&mut chosen).unwrap();
    assert!(chosen.len() == plan.targets.len() && chosen.iter().all(Option::is_some));
    executor.model().backend().graphs()
}

fn steps_are_captured_at_the_start<D: Device>(backend: Cuda<D>) {
    let mut executor = step_executor(backend, Precision::Bf16);
    let captured = executor.model().backend().graphs();
    assert!(captured >= 2 * SIZES.len(), "{captured} graphs");
    let drawn = Sampling { temperature: 0.8, ..Sampling::GREEDY };
    // The size decides how attention is launched, the sampling how rows are drawn: they need not be crossed.
    let sizes = [(1, 250), (3, 150), (4, 129), (20, 128), (24, 100), (24, 1)].map(|size| (size, Sampling::GREEDY));
    let samplings = [drawn, Sampling { top_k: 20, ..drawn }, Sampling { top_p: 0.9, ..drawn }];
    let samplings = samplings.map(|sampling| [((1, 250), sampling), ((24, 100), sampling)]);
    for ((rows, source), sampling) in sizes.into_iter().chain(samplings.into_iter().flatten()) {
        let plan = plan(rows, source, sampling);
        // Twice for either list of drawn ids.
        let graphs = [(); 4].map(|()| graphs_after(&mut executor, &plan));
        assert_eq!(graphs, [captured; 4], "{rows} rows, {source} tokens, {sampling:?}");
    }
    let longer = plan(2, 300, Sampling::GREEDY);
    let graphs = [(); 4].map(|()| graphs_after(&mut executor, &longer));
    assert_eq!(graphs[3], captured + 2, "a longer source is a step of its own");
}

#[cfg(feature = "cuda-shim")]
#[test]
fn through_the_shim_steps_are_captured_at_the_start() {
    steps_are_captured_at_the_start(Cuda::new(kernels::cuda::Shim::new(2)).unwrap());
}

#[cfg(feature = "cuda")]
#[test]
fn on_a_gpu_steps_are_captured_at_the_start() {
    if let Some(gpu) = crate::gpu() {
        steps_are_captured_at_the_start(gpu);
    }
}
