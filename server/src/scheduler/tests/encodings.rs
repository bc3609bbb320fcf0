//! Encoder requests: batches, lanes, turns, and their end.

use super::world::{LIMITS, World, asks, caller, source, with_pages};
use crate::request::{EncodeRequest, Readout, RequestId};
use crate::scheduler::{Lane, SchedulerLimits};

fn lengths(world: &World) -> Vec<u32> {
    world.plan.encode().map(|step| step.segments.iter().map(|s| s.len).collect()).unwrap_or_default()
}

/// An encoder request of this call.
fn encode_as(world: &mut World, call: u64, name: u32, tokens: usize) -> RequestId {
    let asked = EncodeRequest { source: source(name, tokens).into(), readout: Readout::Mean };
    world.encode_as(&caller(call), asked)
}

#[test]
fn small_requests_fill_a_batch_and_are_answered_with_its_step() {
    let mut world = World::new(LIMITS);
    let ids: Vec<RequestId> = (1..=5).map(|name| world.encode(&source(name, 16), Readout::LastToken)).collect();
    world.step();
    assert_eq!(lengths(&world), [16, 16, 16, 16]);
    assert!(ids[..4].iter().all(|id| world.readers[id].result.is_some()));
    assert!(!world.readers[&ids[4]].started);
    world.step();
    assert_eq!((lengths(&world), world.scheduler.is_idle()), (vec![16], true));
    world.check_answers();
}

#[test]
fn they_need_no_page_and_no_row() {
    let mut world = World::new(SchedulerLimits { running_rows: 1, ..with_pages(4) });
    world.submit(asks(&source(1, 48), 10));
    world.step();
    assert_eq!(world.scheduler.counts().free, 0);
    let id = world.encode(&source(2, 16), Readout::EveryToken);
    world.step();
    assert!(world.readers[&id].result.is_some() && world.scheduler.running_rows() == 1);
    world.run();
    world.check_answers();
}

#[test]
fn sources_of_generations_and_encoder_requests_share_a_batch() {
    let mut world = World::new(LIMITS);
    for name in 1..=6 {
        world.encode(&source(name, 8), Readout::Mean);
    }
    for name in 11..=16 {
        world.submit(asks(&source(name, 9), 2));
    }
    world.step();
    let step = world.plan.encode().unwrap();
    assert_eq!((step.cross_spans.len(), step.readouts.len()), (3, 4), "one after the other enters");
    assert_eq!(lengths(&world), [9, 9, 9, 8, 8, 8, 8]);
    world.run();
    world.check_answers();
}

#[test]
fn encoder_requests_have_a_quarter_of_a_batch_beside_running_rows_and_all_of_it_alone() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 20), 3));
    world.step();
    (0..20).for_each(|name| _ = world.encode(&source(10 + name, 8), Readout::Mean));
    for _ in 0..3 {
        world.step();
        assert_eq!((lengths(&world), world.plan.targets.len()), (vec![8, 8], 1));
    }
    world.step();
    assert_eq!((lengths(&world), world.plan.targets.len()), (vec![8; 8], 0), "the generation has ended");
    world.run();
    world.check_answers();
}

#[test]
fn sources_of_generations_fill_the_batch_that_encoder_requests_leave() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 20), 9));
    world.step();
    (0..20).for_each(|name| _ = world.encode(&source(10 + name, 8), Readout::Mean));
    (0..4).for_each(|name| _ = world.submit(asks(&source(40 + name, 12), 2)));
    world.step();
    let step = world.plan.encode().unwrap();
    assert_eq!((step.cross_spans.len(), step.readouts.len()), (4, 2));
    world.run();
    world.check_answers();
}

#[test]
fn a_longer_request_pauses_between_layers_beside_running_rows_until_a_source_waits() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 20), 20));
    world.step();
    let long = world.encode(&source(2, 60), Readout::Mean);
    world.step();
    assert_eq!((lengths(&world), world.plan.encode().unwrap().parts.clone()), (vec![60], 0..1));
    let generation = world.submit(asks(&source(3, 20), 2));
    world.step();
    assert!(world.readers[&long].result.is_some(), "the source that waits is not held up");
    world.step();
    world.step();
    assert_eq!(world.answer(generation).tokens.len(), 1);
    world.run();
    world.check_answers();
}

#[test]
fn a_short_request_finishes_while_a_long_one_is_in_the_encoder() {
    let mut world = World::new(LIMITS);
    let long = world.encode(&source(1, 256), Readout::Mean);
    world.step();
    assert_eq!(world.plan.encode().unwrap().parts, 0..1);
    let short = world.encode(&source(2, 32), Readout::Mean);
    world.step();
    assert!(world.readers[&short].result.is_some() && world.readers[&long].result.is_none());
    assert_eq!(world.plan.encode().unwrap().lane, Lane::Short);
    world.step();
    assert_eq!(world.plan.encode().unwrap().parts, 1..2, "the long one goes on where it was");
    world.run();
    world.check_answers();
}

#[test]
fn a_long_request_goes_on_in_every_other_step_however_many_short_ones_come() {
    let mut world = World::new(LIMITS);
    let long = world.encode(&source(1, 256), Readout::Mean);
    let mut steps = 0;
    while world.readers[&long].result.is_none() {
        world.encode(&source(2, 60), Readout::Mean);
        world.encode(&source(3, 60), Readout::Mean);
        world.step();
        steps += 1;
    }
    assert_eq!(steps, 8, "four layers, and a short batch before each");
    world.run();
    world.check_answers();
}

#[test]
fn a_generation_starts_beside_a_long_encoder_request() {
    let mut world = World::new(LIMITS);
    world.encode(&source(1, 256), Readout::Mean);
    world.step();
    let id = world.submit(asks(&source(2, 20), 3));
    world.step();
    world.step();
    assert_eq!(world.answer(id).tokens.len(), 1);
    world.run();
    world.check_answers();
}

#[test]
fn calls_take_turns_in_the_encoder() {
    let mut world = World::new(LIMITS);
    let many: Vec<RequestId> = (0..20).map(|_| encode_as(&mut world, 1, 1, 16)).collect();
    let one = encode_as(&mut world, 2, 2, 16);
    world.step();
    assert!(world.readers[&one].result.is_some());
    let done = many.iter().filter(|id| world.readers[id].result.is_some()).count();
    assert_eq!((done, world.scheduler.waiting_encodings()), (3, 17));
    world.run();
    world.check_answers();
}

#[test]
fn a_cancelled_request_leaves_the_queue_at_once() {
    let mut world = World::new(LIMITS);
    let (gone, stays) = (world.encode(&source(1, 40), Readout::Mean), world.encode(&source(2, 40), Readout::Mean));
    world.cancel(gone, None);
    world.step();
    assert!(world.readers[&stays].result.is_some() && world.scheduler.is_idle());
    world.check_answers();
}

#[test]
fn a_long_request_that_is_cancelled_between_its_layers_leaves_the_encoder_to_others() {
    for during_step in [false, true] {
        let mut world = World::new(LIMITS);
        let gone = world.encode(&source(1, 256), Readout::Mean);
        let next = world.encode(&source(2, 200), Readout::Mean);
        let result = world.plan_and_run();
        if during_step {
            world.cancel(gone, None);
            world.commit(&result);
        } else {
            world.commit(&result);
            world.cancel(gone, None);
        }
        world.step();
        assert_eq!((lengths(&world), world.plan.encode().unwrap().parts.clone()), (vec![200], 0..1));
        world.run();
        world.check_answers();
        assert!(world.readers[&next].result.is_some());
    }
}

#[test]
fn a_request_that_is_cancelled_while_its_result_is_computed_disturbs_no_other_result() {
    let mut world = World::new(LIMITS);
    let ids = [1, 2, 3].map(|name| world.encode(&source(name, 16), Readout::Mean));
    let result = world.plan_and_run();
    world.cancel(ids[1], None);
    world.commit(&result);
    assert!(world.scheduler.is_idle());
    world.check_answers();
}

#[test]
fn results_are_read_before_the_next_step_overwrites_them() {
    let mut world = World::running_ahead(LIMITS);
    world.submit(asks(&source(1, 20), 30));
    for _ in 0..3 {
        world.step();
    }
    let id = world.encode(&source(2, 20), Readout::Mean);
    while world.readers[&id].result.is_none() {
        world.step();
    }
    world.run();
    world.check_answers();
    // The plan that reads the result has none made ahead of its commit.
    assert_eq!(world.ahead + 2, world.steps);
}

#[test]
fn a_failed_step_ends_the_encoder_requests_in_it_and_no_others() {
    let mut world = World::new(LIMITS);
    let ids = [1, 2, 3].map(|name| world.encode(&source(name, 30), Readout::Mean));
    let generation = world.submit(asks(&source(4, 30), 3));
    world.plan_and_run();
    let mut failed = Vec::new();
    world.scheduler.fail_step(&mut failed);
    assert_eq!(failed, [ids[0], generation]);
    world.scheduler.check_conservation().unwrap();
    for id in failed {
        world.cancel(id, None);
    }
    world.run();
    world.check_answers();
    assert!([ids[1], ids[2]].iter().all(|id| world.readers[id].result.is_some()));
}

#[test]
#[should_panic(expected = "a source has at least one token")]
fn an_empty_source_is_not_encoded() {
    World::new(LIMITS).encode(&[], Readout::Mean);
}
