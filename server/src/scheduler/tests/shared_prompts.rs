//! Choices that begin with the same decoder prompt share its pages.

use super::world::{LIMITS, World, asks, source};
use crate::request::GenerationRequest;
use crate::scheduler::SchedulerLimits;

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
    world.submit(GenerationRequest { log_probs: Some(1), score_prompt: true, ..prompted() });
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
