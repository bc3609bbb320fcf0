//! Page pressure: preemption, and sources that waiting sequences give up.

use model::EncoderCost;

use super::world::{LIMITS, World, asks, source, with_pages};
use crate::request::{GenerationRequest, PromptScores, RequestId};
use crate::scheduler::{PoolSize, SchedulerLimits};

fn running(world: &World) -> Vec<RequestId> {
    world.scheduler.running.iter().map(|running| running.sequence.request.id).collect()
}

fn step_until(world: &mut World, condition: impl Fn(&World) -> bool) {
    while !condition(world) {
        world.step();
        assert!(world.steps <= world.step_bound);
    }
}

#[test]
fn the_youngest_gives_up_its_pages_keeps_its_source_and_gets_the_same_tokens() {
    let mut world = World::new(with_pages(8));
    let ids = [1, 2, 3].map(|name| world.submit(asks(&source(name, 4), 32)));
    step_until(&mut world, |world| world.scheduler.counters().preemptions > 0);
    assert_eq!(running(&world), ids[..2]);
    assert_eq!(world.scheduler.queue.waiting[0].sequence.request.id, ids[2]);
    assert!(world.scheduler.queue.waiting[0].source.is_some());
    world.run();
    world.check_answers();
    assert_eq!(world.scheduler.counters().encoder_runs, 3);
}

#[test]
fn a_preempted_sequence_waits_for_room_to_stay() {
    let mut world = World::new(with_pages(5));
    let oldest = world.submit(asks(&source(1, 16), 48));
    step_until(&mut world, |world| world.answer(oldest).tokens.len() == 10);
    let short = world.submit(asks(&source(1, 16), 12));
    let youngest = world.submit(asks(&source(2, 16), 16));
    step_until(&mut world, |world| world.answer(short).finish.is_some());
    // The short one leaves a page that would hold the youngest, until the oldest needs it.
    assert_eq!((world.scheduler.counts().free, running(&world)), (1, vec![oldest]));
    step_until(&mut world, |world| world.answer(youngest).finish.is_some());
    world.check_answers();
    assert_eq!(world.scheduler.counters().preemptions, 1);
}

#[test]
fn running_sequences_take_their_pages_before_anybody_is_admitted() {
    let mut world = World::new(with_pages(4));
    let first = world.submit(asks(&source(1, 4), 20));
    step_until(&mut world, |world| world.answer(first).tokens.len() == 16);
    world.submit(asks(&source(2, 4), 4));
    world.run();
    world.check_answers();
    assert_eq!(world.scheduler.counters().preemptions, 0);
}

#[test]
fn a_preempted_sequence_comes_back_before_those_that_came_later() {
    let mut world = World::new(with_pages(8));
    let ids = [1, 2, 3].map(|name| world.submit(asks(&source(name, 4), 32)));
    step_until(&mut world, |world| world.scheduler.counters().preemptions > 0);
    let late = world.submit(asks(&source(4, 4), 1));
    world.run();
    world.check_answers();
    assert_eq!(world.started, [ids[0], ids[1], ids[2], late]);
}

#[test]
fn a_preempted_sequence_scores_nothing_twice() {
    let mut world = World::new(SchedulerLimits { step_rows: 8, ..with_pages(9) });
    for name in 1..=3 {
        let asked = GenerationRequest {
            decoder_prompt: (3..15).collect(),
            log_probs: Some(2),
            prompt_scores: Some(PromptScores::all(2)),
            ..asks(&source(name, 4), 32)
        };
        world.submit(asked);
    }
    world.run();
    world.check_answers();
    assert!(world.scheduler.counters().preemptions > 0);
}

#[test]
fn the_oldest_takes_the_sources_of_those_that_wait_when_nothing_else_is_left() {
    let mut world = World::new(with_pages(7));
    let oldest = world.submit(asks(&source(1, 16), 96));
    world.submit(asks(&source(2, 48), 20));
    world.run();
    world.check_answers();
    assert!(world.answer(oldest).finish.is_some());
    // The second source was encoded, given up, and encoded again.
    assert_eq!(world.scheduler.counters().encoder_runs, 3);
}

#[test]
fn a_source_given_up_between_its_layers_is_not_written() {
    let mut world =
        World::new(SchedulerLimits { step_encoder_tokens: 1, encoder: EncoderCost::undivided(40), ..with_pages(6) });
    world.submit(asks(&source(1, 16), 80));
    step_until(&mut world, |world| world.scheduler.counts().held == 3);
    world.submit(asks(&source(2, 32), 20));
    step_until(&mut world, |world| world.scheduler.counters().preemptions == 1);
    assert!(world.plan.encode().is_some_and(|step| !step.is_last));
    step_until(&mut world, |world| world.scheduler.queue.waiting[0].source.is_none());
    assert!(world.plan.encode().is_none());
    world.run();
    world.check_answers();
    assert_eq!(world.scheduler.counters().encoder_runs, 3);
}

#[test]
fn the_head_of_the_queue_takes_the_sources_of_those_behind_when_nobody_runs() {
    let mut world = World::new(with_pages(9));
    let ids = [1, 2, 3].map(|name| world.submit(asks(&source(name, 32), 16)));
    let fourth = world.submit(asks(&source(4, 16), 128));
    step_until(&mut world, |world| world.scheduler.running_rows() == 3);
    world.run();
    world.check_answers();
    assert_eq!(world.started, [ids[0], ids[1], ids[2], fourth]);
}

#[test]
fn a_pool_holds_twice_the_sources_when_a_page_holds_twice_the_tokens_of_a_source() {
    let most_running = |source_page_tokens| {
        let mut world = World::new(SchedulerLimits {
            pool: PoolSize { pages: 40, source_page_tokens, ..LIMITS.pool },
            running_rows: 16,
            ..LIMITS
        });
        for name in 0..16 {
            world.submit(asks(&source(name, 128), 4));
        }
        let mut most = 0;
        while !world.scheduler.is_idle() {
            world.step();
            most = most.max(world.scheduler.running_rows());
        }
        world.check_answers();
        most
    };
    // Eight pages of a source and one of a target, or four and one.
    assert_eq!((most_running(16), most_running(32)), (4, 8));
}

#[test]
fn waste_is_counted_in_the_room_that_each_kind_of_page_has() {
    let mut world = World::new(SchedulerLimits { pool: PoolSize { source_page_tokens: 32, ..LIMITS.pool }, ..LIMITS });
    world.submit(asks(&source(1, 40), 30));
    for _ in 0..6 {
        world.step();
    }
    assert_eq!(world.scheduler.counts().held, 3);
    assert_eq!((world.scheduler.held_tokens(), world.scheduler.held_room()), (40 + 6, 2 * 32 + 16));
}

#[test]
fn waste_is_the_unused_end_of_last_pages() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 40), 30));
    for _ in 0..6 {
        world.step();
    }
    let counts = world.scheduler.counts();
    assert_eq!((counts.held, counts.cached), (4, 0));
    assert_eq!(world.scheduler.held_tokens(), 40 + 6);
}

#[test]
fn the_youngest_of_those_that_wait_gives_up_its_source_first() {
    let mut world = World::new(with_pages(6));
    world.submit(asks(&source(1, 16), 64));
    let second = world.submit(asks(&source(2, 16), 20));
    let third = world.submit(asks(&source(3, 16), 20));
    step_until(&mut world, |world| world.scheduler.counters().preemptions == 2);
    step_until(&mut world, |world| world.scheduler.queue.waiting.iter().any(|waiting| waiting.source.is_none()));
    let waiting = world.scheduler.queue.waiting.iter();
    let kept: Vec<_> = waiting.map(|waiting| (waiting.sequence.request.id, waiting.source.is_some())).collect();
    assert_eq!(kept, [(second, true), (third, false)]);
    world.run();
    world.check_answers();
}
