//! Drafted tokens: fewer steps, the same answers.

use kernels::Sampling;

use super::world::{LIMITS, World, asks, source, with_pages};
use crate::request::GenerationRequest;
use crate::scheduler::SchedulerLimits;

const DRAFTING: SchedulerLimits = SchedulerLimits { draft_rows: 12, ..LIMITS };

/// A request whose text repeats itself for the most part.
fn asks_repeated(name: u32, max_tokens: u32) -> GenerationRequest {
    let sampling = Sampling { seed: 2 * u64::from(name) + 1, ..Sampling::GREEDY };
    GenerationRequest { sampling, speculation: true, ..asks(&source(name, 4), max_tokens) }
}

#[test]
fn a_text_that_repeats_itself_takes_fewer_steps() {
    let mut world = World::new(DRAFTING);
    let id = world.submit(asks_repeated(5, 200));
    world.run();
    world.check_answers();
    let counters = world.scheduler.counters();
    assert_eq!(world.answer(id).tokens.len(), 200);
    assert!(world.steps < 100, "{} steps for 200 tokens", world.steps);
    assert!(counters.accepted > 100 && counters.accepted <= counters.drafted, "{counters:?}");
}

#[test]
fn nobody_is_drafted_for_who_does_not_ask_or_whose_draws_follow_tokens() {
    let repeated = || asks_repeated(5, 100);
    let no_ngram = crate::request::Controls { no_repeat_ngram: 40, ..Default::default() };
    for asked in [
        GenerationRequest { speculation: false, ..repeated() },
        GenerationRequest { controls: no_ngram.into(), ..repeated() },
    ] {
        let mut world = World::new(DRAFTING);
        world.submit(asked);
        world.run();
        world.check_answers();
        assert_eq!(world.scheduler.counters().drafted, 0);
    }
}

#[test]
fn a_step_that_is_full_of_other_rows_drafts_nothing() {
    for (draft_rows, drafts) in [(0, false), (4, false), (6, true)] {
        let mut world = World::new(SchedulerLimits { draft_rows, ..LIMITS });
        for name in 3..7 {
            world.submit(asks_repeated(name, 60));
        }
        while world.scheduler.running_rows() < 4 {
            world.step();
        }
        while world.scheduler.running_rows() == 4 {
            world.step();
            assert!(world.plan.targets.len() <= draft_rows.max(4));
        }
        assert_eq!(world.scheduler.counters().drafted > 0, drafts, "{draft_rows}");
        world.run();
        world.check_answers();
    }
}

#[test]
fn drafts_take_no_page_that_others_need() {
    // Each request has a page for its source and four for its target.
    let mut world = World::new(SchedulerLimits { pool: with_pages(10).pool, ..DRAFTING });
    for name in [3, 4] {
        world.submit(asks_repeated(name, 63));
    }
    world.run();
    world.check_answers();
    let counters = world.scheduler.counters();
    assert!(counters.accepted > 0 && counters.preemptions == 0, "{counters:?}");
}

#[test]
fn a_failed_step_leaves_no_draft() {
    let mut world = World::new(DRAFTING);
    let first = world.submit(asks_repeated(5, 60));
    while world.scheduler.counters().drafted == 0 {
        world.step();
    }
    world.scheduler.plan(&mut world.plan);
    world.scheduler.fail_step(&mut Vec::new());
    world.cancel(first, None);
    world.submit(asks_repeated(7, 60));
    world.run();
    world.check_answers();
}
