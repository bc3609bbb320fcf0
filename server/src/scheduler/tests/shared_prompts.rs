//! Choices that begin with the same decoder prompt share its pages.

use super::world::{LIMITS, World, asks, caller, source};
use crate::request::{GenerationRequest, PromptScores};
use crate::scheduler::{Plan, SchedulerLimits};

const ROOMY: SchedulerLimits = SchedulerLimits { step_rows: 128, ..LIMITS };

/// A request of three choices whose decoder prompt fills two pages and nine positions of a third.
fn prompted() -> GenerationRequest {
    GenerationRequest { choices: 3, decoder_prompt: (3..43).map(|id| id % 40).collect(), ..asks(&source(1, 4), 20) }
}

#[test]
fn one_choice_runs_the_prompt_and_the_others_take_over_its_whole_pages() {
    for source_is_cached in [false, true] {
        let mut world = World::new(ROOMY);
        if source_is_cached {
            world.submit(asks(&source(1, 4), 1));
            world.run();
        }
        world.submit(prompted());
        while world.plan.targets.len() < 3 {
            world.step();
        }
        assert_eq!(world.plan.targets.len(), 41 + 9 + 9, "in one step");
        assert_eq!(world.scheduler.counts().held, 1 + 2 + 3);
        world.run();
        world.check_answers();
    }
}

#[test]
fn a_prompt_that_takes_several_steps_is_still_run_once() {
    let mut world = World::new(LIMITS);
    world.submit(prompted());
    world.step();
    let mut rows = 0;
    while world.scheduler.running.iter().any(|running| running.sequence.generated(0).is_empty()) {
        world.step();
        rows += world.plan.targets.len();
    }
    // Some of these rows draw a second token of a choice that began earlier.
    assert!((41 + 9 + 9..41 + 41).contains(&rows), "{rows} rows");
    world.run();
    world.check_answers();
}

#[test]
fn shared_pages_outlive_the_choice_that_ran_them() {
    for step in 0..4 {
        let mut world = World::new(ROOMY);
        let id = world.submit(prompted());
        for _ in 0..step {
            world.step();
        }
        let result = world.plan_and_run();
        world.cancel(id, Some(0));
        world.commit(&result);
        world.run();
        world.check_answers();
    }
}

#[test]
fn a_scored_prompt_is_run_by_every_choice() {
    let mut world = World::new(ROOMY);
    world.submit(GenerationRequest { prompt_scores: Some(PromptScores::all(1)), ..prompted() });
    world.step();
    world.step();
    assert_eq!(world.plan.targets.len(), 3 * 41);
    world.run();
    world.check_answers();
}

#[test]
fn a_plan_made_ahead_shares_only_what_will_certainly_be_there() {
    let mut world = World::running_ahead(ROOMY);
    world.submit(asks(&source(2, 4), 30));
    world.step();
    world.submit(prompted());
    world.run();
    world.check_answers();
    assert!(world.ahead > 10);
}

/// A request whose decoder prompt begins with `common` tokens that all of them have, and goes on with `own` of `name`.
fn scored(name: u32, common: u32, own: usize, from: usize) -> GenerationRequest {
    let decoder_prompt = (3..3 + common).map(|id| id % 40).chain(std::iter::repeat_n(name, own)).collect();
    GenerationRequest { decoder_prompt, prompt_scores: Some(PromptScores { top: 0, from }), ..asks(&source(1, 4), 0) }
}

#[test]
fn targets_of_one_source_that_begin_alike_run_their_beginning_once() {
    let mut world = World::new(SchedulerLimits { running_rows: 16, call_rows: 16, ..ROOMY });
    world.submit(asks(&source(1, 4), 1));
    world.run();
    let call = caller(9);
    for name in 0..8 {
        world.submit_as(&call, scored(name, 36, 5, if name == 0 { 0 } else { 36 }));
    }
    // The same targets of another source share nothing with these.
    world.submit(GenerationRequest { source: source(2, 4).into(), ..scored(1, 36, 5, 36) });
    world.step();
    assert_eq!(world.plan.targets.len(), 41 + 7 * (41 - 32), "whole pages are shared");
    assert_eq!(world.plan.outputs.len(), 41 + 7 * 5, "and nothing is scored twice");
    world.run();
    world.check_answers();
}

#[test]
fn a_position_whose_score_is_wanted_is_run() {
    let mut world = World::new(ROOMY);
    world.submit(asks(&source(1, 4), 1));
    world.run();
    world.submit(scored(1, 36, 5, 0));
    world.submit(scored(2, 36, 5, 31));
    world.submit(GenerationRequest { prompt_scores: None, max_tokens: 3, ..scored(3, 36, 5, 0) });
    world.step();
    assert_eq!(world.plan.targets.len(), 41 + (41 - 16) + (42 - 32));
    world.run();
    world.check_answers();
}

#[test]
fn a_plan_that_fails_takes_along_whoever_relied_on_it() {
    let mut world = World::new(ROOMY);
    world.submit(asks(&source(1, 4), 30));
    world.step();
    world.step();
    let begins = |name| GenerationRequest { prompt_scores: None, max_tokens: 9, ..scored(name, 36, 5, 0) };
    let first = world.submit(begins(1));
    world.scheduler.plan(&mut world.plan);
    let second = world.submit(begins(2));
    assert!(world.scheduler.plan_ahead(&mut Plan::default()));
    assert!(world.scheduler.running.last().unwrap().relies_on_plans);
    let mut failed = Vec::new();
    world.scheduler.fail_step(&mut failed);
    assert!(failed.contains(&first) && failed.contains(&second), "{failed:?}");
    assert!(world.scheduler.running.is_empty());
}
