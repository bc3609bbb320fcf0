//! Constraints: masks, tokens without a choice, and searches among targets.

use std::sync::Arc;

use super::alone::score_alone;
use super::fake_model::END;
use super::faults::Fault;
use super::one_of::OneOf;
use super::rhythm::{Broken, Rhythm};
use super::world::{LIMITS, World, asks, source, with_pages};
use crate::request::{BeamSearch, ConstraintError, Controls, EarlyStopping, FinishReason, GenerationRequest};
use crate::scheduler::{Event, NoToken, SchedulerLimits};

fn in_rhythm(rhythm: Rhythm, max_tokens: u32) -> GenerationRequest {
    GenerationRequest { constraint: Some(rhythm.constraint()), ignore_end: false, ..asks(&source(1, 20), max_tokens) }
}

#[test]
fn tokens_without_a_choice_run_together_and_are_told_at_once() {
    let mut world = World::new(LIMITS);
    let id = world.submit(in_rhythm(Rhythm { bar: 1, bars: 9 }, 30));
    world.run();
    world.check_answers();
    // The encoder runs, then all rows of the nine tokens at once, the last of which draws the end.
    let rows = world.plan.targets.len();
    let answer = world.answer(id);
    assert_eq!((answer.tokens.len(), answer.finish), (10, Some(FinishReason::Stop)));
    assert_eq!(rows, 10, "start token and nine forced ones");
}

#[test]
fn tokens_whose_log_probabilities_are_wanted_are_drawn_one_by_one() {
    let mut world = World::new(LIMITS);
    let id = world.submit(GenerationRequest { log_probs: Some(1), ..in_rhythm(Rhythm { bar: 1, bars: 3 }, 30) });
    world.run();
    world.check_answers();
    assert_eq!((world.answer(id).scores.len(), world.plan.targets.len()), (4, 1));
}

#[test]
fn the_end_is_not_held_back_where_nothing_else_is_left() {
    let mut world = World::new(LIMITS);
    let id = world.submit(GenerationRequest { min_tokens: 20, ..in_rhythm(Rhythm { bar: 2, bars: 3 }, 30) });
    world.run();
    world.check_answers();
    assert_eq!((world.answer(id).tokens.len(), world.answer(id).finish), (7, Some(FinishReason::Stop)));
}

#[test]
fn no_plan_is_made_ahead_of_a_token_that_a_mask_follows() {
    let mut world = World::running_ahead(LIMITS);
    world.submit(in_rhythm(Rhythm { bar: 4, bars: 5 }, 30));
    world.run();
    world.check_answers();
}

/// The search is as wide as there are beginnings, so no branch is dropped and the best targets by their sums are found.
#[test]
fn a_search_among_targets_that_drops_none_finds_the_best_of_them() {
    let targets: Vec<Vec<u32>> = [&[3, 4, 5][..], &[3, 4], &[3, 9, 9, 9], &[7], &[7, 7, 7], &[8, 3], &[30, 31, 32, 33]]
        .map(<[u32]>::to_vec)
        .into();
    for name in 0..20 {
        let mut world = World::new(LIMITS);
        let beams = BeamSearch { width: 8, length_penalty: 0.0, early_stopping: EarlyStopping::Impossible };
        let constraint = Some(OneOf(targets.clone()).constraint());
        let asked = GenerationRequest { choices: 4, beams: Some(beams), constraint, ..asks(&source(name, 12), 10) };
        let asked = GenerationRequest { ignore_end: false, ..asked };
        let id = world.submit(asked.clone());
        while !world.scheduler.is_idle() {
            world.step();
        }
        let mut all: Vec<(f32, Vec<u32>)> = targets
            .iter()
            .map(|target| {
                let tokens = [target.as_slice(), &END[..1]].concat();
                (score_alone(&asked, &tokens), tokens)
            })
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let found: Vec<Vec<u32>> = world.answers(id).iter().map(|answer| answer.tokens.clone()).collect();
        let best: Vec<Vec<u32>> = all.into_iter().take(4).map(|(_, tokens)| tokens).collect();
        assert_eq!(found, best);
    }
}

/// 300 targets that begin alike in many ways.
fn many_targets() -> Vec<Vec<u32>> {
    let ids = |target: u32| [target % 7 + 3, target % 5 + 10, target % 11 + 20, target / 9 % 20 + 5];
    (0..300).map(|target| ids(target)[..1 + target as usize % 4].to_vec()).collect()
}

/// A narrow search among many targets, which a beam search would not find for certain.
pub fn exact(name: u32) -> GenerationRequest {
    let beams = BeamSearch { width: 3, length_penalty: 0.0, early_stopping: EarlyStopping::Unlikely };
    let constraint = Some(OneOf(many_targets()).constraint());
    let asked = GenerationRequest { choices: 3, beams: Some(beams), constraint, ..asks(&source(name, 12), 10) };
    GenerationRequest { ignore_end: false, exact_steps: 500, ..asked }
}

#[test]
fn a_narrow_search_comes_back_for_what_it_dropped_and_finds_the_best_of_all_targets() {
    let mut came_back = 0;
    for name in 0..8 {
        let mut world = World::new(LIMITS);
        world.submit(GenerationRequest { decoder_prompt: (3..24).collect(), ..exact(name) });
        while !world.scheduler.is_idle() {
            let length =
                |world: &World| world.scheduler.running.first().map_or(0, |one| one.sequence.generated_tokens());
            let before = length(&world);
            world.step();
            came_back += usize::from(length(&world) < before && !world.scheduler.is_idle());
        }
        world.check_answers();
    }
    assert!(came_back > 4, "{came_back} times");
}

#[test]
fn exact_searches_that_are_preempted_find_the_same() {
    let mut preempted = 0;
    for pages in 15..24 {
        let mut world = World::new(SchedulerLimits { running_rows: 16, step_rows: 16, ..with_pages(pages) });
        let long: Vec<u32> = (3..103).map(|id| id % 40).collect();
        world.submit(GenerationRequest { decoder_prompt: long, ..asks(&source(1, 4), 120) });
        for name in 2..6 {
            world.submit(GenerationRequest { decoder_prompt: (3..34 + name).collect(), ..exact(name) });
        }
        world.run();
        world.check_answers();
        preempted += world.scheduler.counters().preemptions;
    }
    assert!(preempted > 0);
}

#[test]
fn a_search_without_enough_steps_says_that_it_is_not_exact() {
    let mut world = World::new(LIMITS);
    let id = world.submit(GenerationRequest { exact_steps: 5, ..exact(1) });
    let short = GenerationRequest { exact_steps: 0, ..exact(1) };
    let plain = world.submit(short);
    world.run();
    for id in [id, plain] {
        let ratings = world.answers(id).iter().map(|answer| answer.rating.unwrap().is_exact);
        assert_eq!(ratings.collect::<Vec<_>>(), [Some(false); 3]);
    }
}

#[test]
fn a_row_whose_mask_is_late_waits_and_the_others_go_on() {
    for runs_ahead in [false, true] {
        let world = if runs_ahead { World::running_ahead(LIMITS) } else { World::new(LIMITS) };
        let mut world = world.with_slow_constraints(40);
        let slow = world.submit(in_rhythm(Rhythm { bar: 4, bars: 3 }, 30));
        let others = [world.submit(asks(&source(2, 20), 20)), world.submit(asks(&source(3, 20), 20))];
        while !others.iter().all(|id| world.answer(*id).finish.is_some()) {
            world.step();
        }
        assert!(world.steps < 30, "{} steps for 20 tokens", world.steps);
        assert!(world.answer(slow).finish.is_none());
        world.run();
        world.check_answers();
        assert!(world.threads.late > 0);
    }
}

#[test]
fn a_constraint_that_cannot_be_followed_ends_its_request_with_the_reason() {
    for steps in [0, 5] {
        let mut world = World::new(LIMITS).with_slow_constraints(steps);
        let bad = world.submit(GenerationRequest { choices: 2, ..in_rhythm(Rhythm { bar: 1, bars: 0 }, 30) });
        let asked = GenerationRequest { constraint: Some(Broken.constraint()), ..asks(&source(1, 20), 30) };
        let (broken, good) = (world.submit(asked), world.submit(asks(&source(2, 20), 9)));
        let mut events = Vec::new();
        while !world.scheduler.is_idle() {
            events.extend(world.step());
        }
        let cause = NoToken::Unfollowed(ConstraintError { reason: "broken".to_owned() });
        assert!(events.contains(&Event::Failed { request: broken, cause }));
        assert_eq!(world.scheduler.counts().held, 0);
        assert!([bad, good].iter().all(|id| world.answer(*id).finish.is_some()));
    }
}

#[test]
fn a_request_that_began_in_a_step_that_failed_starts_before_it_has_tokens() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 20), 2));
    world.run();
    // Its source is there, and its first tokens have no choice, so nothing of it runs before they are seen.
    let id = world.submit(in_rhythm(Rhythm { bar: 1, bars: 9 }, 30));
    world.step_with(Fault::FailsAfter, |_| {});
    assert_eq!(world.answer(id).tokens.len(), 9);
    world.run();
    world.check_answers();
}

/// Steps and rows of an exact search among targets whose ends have no choice, with so many rows for a step.
fn rows_of_tails(step_rows: usize) -> Vec<usize> {
    let mut world = World::new(SchedulerLimits { step_rows, ..LIMITS });
    let targets = [&[3, 4, 5, 6, 7][..], &[3, 9, 10], &[8, 9, 10, 11, 12]].map(<[u32]>::to_vec);
    let asked = GenerationRequest { constraint: Some(OneOf(targets.into()).constraint()), ..exact(1) };
    let beams = BeamSearch { width: 2, length_penalty: 0.0, early_stopping: EarlyStopping::Unlikely };
    world.submit(GenerationRequest { decoder_prompt: (3..17).collect(), beams: Some(beams), ..asked });
    let mut rows = Vec::new();
    while !world.scheduler.is_idle() {
        world.step();
        rows.push(world.plan.targets.len());
    }
    world.check_answers();
    rows
}

#[test]
fn tokens_without_a_choice_of_an_exact_search_are_scored_in_one_step_as_far_as_rows_are_left() {
    // The source, the decoder prompt, the two beginnings with the five tokens behind one of them, the two ends.
    assert_eq!(rows_of_tails(LIMITS.running_rows + 16), [0, 15, 2 + 4, 2 + 4]);
    // Half of seven rows are for two branches: one for each, of which one has a use for it.
    assert_eq!(rows_of_tails(LIMITS.running_rows + 7)[..4], [0, 15, 2 + 1, 2 + 2]);
    assert!(rows_of_tails(LIMITS.running_rows)[3..].iter().all(|&rows| rows <= 2));
}

/// A search that may choose no end token.
fn endless(asked: GenerationRequest) -> GenerationRequest {
    let controls = Controls { banned: END.to_vec(), ..Controls::default() };
    GenerationRequest { controls: Arc::new(controls.in_order()), ..asked }
}

#[test]
fn a_search_that_may_end_no_target_fails_at_its_bound_of_steps_or_when_nothing_is_left() {
    let cause = |exact_steps| {
        let mut world = World::new(LIMITS);
        let id = world.submit(GenerationRequest { exact_steps, ..endless(exact(1)) });
        let other = world.submit(asks(&source(2, 20), 30));
        world.run();
        assert_eq!(world.answer(other).tokens.len(), 30);
        (world.clients.get_mut(&id).unwrap().failure.take(), world.steps)
    };
    let (few, all) = (cause(6), cause(1000));
    assert_eq!((few.0, all.0), (Some(NoToken::OutOfSteps), Some(NoToken::NothingLeft)));
    assert!(few.1 < all.1, "{} steps of {}", few.1, all.1);
}
