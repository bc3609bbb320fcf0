//! Cancelling in every state, and failed steps.

use super::world::{LIMITS, World, asks, source, with_pages};
use crate::request::{GenerationRequest, RequestId};
use crate::scheduler::{Event, NoToken, SchedulerLimits};

#[test]
fn a_cancelled_request_returns_its_pages_at_once() {
    let mut world = World::new(LIMITS);
    let running = world.submit(asks(&source(1, 40), 20));
    world.step();
    world.step();
    world.cancel(running, None);
    let counts = world.scheduler.counts();
    assert_eq!((counts.held, counts.cached), (0, 3));
    assert!(world.scheduler.is_idle());
}

#[test]
fn a_request_cancelled_in_the_queue_never_starts() {
    let mut world = World::new(SchedulerLimits { running_rows: 1, ..LIMITS });
    let first = world.submit(asks(&source(1, 4), 5));
    let queued = world.submit(asks(&source(2, 4), 5));
    world.step();
    world.cancel(queued, None);
    assert_eq!(world.scheduler.waiting(), 0);
    world.run();
    world.check_answers();
    assert_eq!(world.started, [first]);
}

#[test]
fn a_cancellation_during_a_step_takes_effect_with_its_commit_and_silences_its_outputs() {
    let mut world = World::new(LIMITS);
    let cancelled = world.submit(asks(&source(1, 40), 20));
    let other = world.submit(asks(&source(2, 4), 5));
    world.step();
    let result = world.plan_and_run();
    world.cancel(cancelled, None);
    assert_eq!(world.scheduler.running_rows(), 2);
    let events = world.commit(&result);
    assert!(events.iter().all(|event| event.request() == other));
    assert_eq!(world.scheduler.running_rows(), 1);
    world.run();
    world.check_answers();
}

#[test]
fn a_row_without_a_token_ends_its_request_and_no_other() {
    let mut world = World::new(LIMITS);
    let bad = world.submit(GenerationRequest { choices: 2, ..asks(&source(1, 40), 20) });
    let good = world.submit(asks(&source(2, 4), 5));
    world.step();
    let mut result = world.plan_and_run();
    assert_eq!(result.chosen.len(), 3);
    // Calls take turns, so its second choice came after the other request.
    result.chosen[2] = None;
    let events = world.commit(&result);
    assert!(events.contains(&Event::Failed { request: bad, cause: NoToken::NotFinite }));
    assert_eq!(world.scheduler.running_rows(), 1);
    world.run();
    world.clients.get_mut(&bad).unwrap().failure = None;
    world.check_answers();
    assert!(world.answer(good).finish.is_some());
}

#[test]
fn a_source_nobody_wants_any_more_frees_its_pages_between_layers_and_the_others_go_on() {
    let mut world = World::new(SchedulerLimits { step_encoder_tokens: 8, ..LIMITS });
    let stream = world.submit(asks(&source(1, 8), 30));
    world.step();
    world.step();
    let long = world.submit(asks(&source(2, 31), 3));
    world.step();
    let held = world.scheduler.counts().held;
    world.cancel(long, None);
    assert_eq!(world.scheduler.counts().held, held - 2 - 1);
    world.step();
    assert!(world.plan.encode().is_none(), "a batch that nobody wants is dropped");
    assert!(world.scheduler.running_rows() == 1);
    world.cancel(stream, None);
    assert!(world.scheduler.is_idle());
}

#[test]
fn a_source_encoded_in_the_step_of_its_cancellation_stays_cached() {
    let mut world = World::new(LIMITS);
    let id = world.submit(asks(&source(1, 40), 3));
    let result = world.plan_and_run();
    world.cancel(id, None);
    world.commit(&result);
    let counts = world.scheduler.counts();
    assert_eq!((counts.held, counts.cached), (0, 3));
}

#[test]
fn the_same_source_asked_again_after_its_drop_is_encoded_anew() {
    let mut world = World::new(SchedulerLimits { step_encoder_tokens: 8, ..LIMITS });
    world.submit(asks(&source(1, 8), 30));
    world.step();
    world.step();
    let dropped = world.submit(asks(&source(2, 31), 3));
    world.step();
    assert_eq!(world.plan.encode().unwrap().parts, 0..1);
    world.cancel(dropped, None);
    let again = world.submit(asks(&source(2, 31), 3));
    world.step();
    assert_eq!(world.plan.encode().unwrap().parts, 0..1);
    world.run();
    world.check_answers();
    assert_eq!(world.clients[&again].started, Some(0));
    assert_eq!(world.scheduler.counters().encoder_runs, 3);
}

#[test]
fn one_choice_can_be_cancelled_alone() {
    let mut world = World::new(SchedulerLimits { running_rows: 2, ..LIMITS });
    let asked = GenerationRequest { choices: 4, ..asks(&source(1, 20), 6) };
    let id = world.submit(asked);
    world.step();
    world.step();
    world.cancel(id, Some(0));
    world.cancel(id, Some(3));
    assert_eq!((world.scheduler.running_rows(), world.scheduler.waiting()), (1, 1));
    world.run();
    world.check_answers();
}

#[test]
fn cancelling_what_is_not_there_changes_nothing() {
    let mut world = World::new(LIMITS);
    let id = world.submit(asks(&source(1, 20), 6));
    world.step();
    world.cancel(RequestId(77), None);
    world.scheduler.cancel(id, Some(5));
    world.run();
    world.cancel(id, None);
    world.scheduler.cancel(id, Some(0));
    assert!(world.scheduler.is_idle());
    assert!(world.answer(id).finish.is_some());
}

#[test]
fn an_answer_that_needed_no_model_can_still_be_cancelled() {
    let mut world = World::new(LIMITS);
    let id = world.submit(asks(&source(1, 4), 0));
    world.cancel(id, None);
    assert!(world.scheduler.is_idle());
}

#[test]
fn cancelling_at_every_step_of_a_trace_is_clean() {
    for during_step in [false, true] {
        for victim in 0..4 {
            for at in 0..40 {
                let mut world = World::new(SchedulerLimits { step_encoder_tokens: 8, ..with_pages(10) });
                let ids = [(1, 20), (2, 40), (1, 20), (3, 30)].map(|(name, tokens)| {
                    let asked = GenerationRequest { choices: 2, ..asks(&source(name, tokens), 20) };
                    world.submit(asked)
                });
                for _ in 0..at {
                    world.step();
                }
                if during_step {
                    let result = world.plan_and_run();
                    world.cancel(ids[victim], None);
                    world.commit(&result);
                } else {
                    world.cancel(ids[victim], None);
                }
                world.run();
                world.check_answers();
            }
        }
    }
}

#[test]
fn a_failed_step_ends_those_who_had_work_in_it_and_nobody_else() {
    let mut world = World::new(SchedulerLimits { running_rows: 3, ..LIMITS });
    let decoding = world.submit(asks(&source(1, 4), 9));
    world.step();
    let encoding = world.submit(asks(&source(2, 64), 9));
    let queued_for_encoder = world.submit(asks(&source(3, 16), 9));
    let waiting = world.submit(asks(&source(4, 16), 9));
    world.plan_and_run();
    let mut failed = Vec::new();
    world.scheduler.fail_step(&mut failed);
    assert_eq!(failed, [decoding, encoding]);
    world.scheduler.check_conservation().unwrap();
    for id in failed {
        world.cancel(id, None);
    }
    world.run();
    world.check_answers();
    assert!([queued_for_encoder, waiting].iter().all(|id| world.answer(*id).finish.is_some()));
}
