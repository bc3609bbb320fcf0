//! Encoder batches, shared sources and their cache.

use model::{EncoderCost, LayerParts};

use super::world::{LIMITS, World, asks, caller, source, with_pages};
use crate::request::{Caller, GenerationRequest, Salt};
use crate::scheduler::SchedulerLimits;

fn lengths(world: &World) -> Vec<u32> {
    world.plan.encode().map(|step| step.segments.iter().map(|s| s.len).collect()).unwrap_or_default()
}

#[test]
fn sources_are_gathered_in_order_up_to_the_token_budget() {
    let mut world = World::new(LIMITS);
    for (name, tokens) in [(1, 30), (2, 34), (3, 1), (4, 20)] {
        world.submit(asks(&source(name, tokens), 2));
    }
    world.step();
    assert_eq!(lengths(&world), [30, 34]);
    world.step();
    assert_eq!(lengths(&world), [1, 20]);
    world.run();
    world.check_answers();
}

#[test]
fn a_source_longer_than_the_budget_runs_alone_and_pauses_between_layers() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 100), 2));
    world.submit(asks(&source(2, 200), 2));
    let mut steps = Vec::new();
    for _ in 0..6 {
        world.step();
        steps.push((lengths(&world), world.plan.encode().unwrap().parts.clone()));
    }
    // 64 tokens * 4 layers are two layers of 100 tokens, or one of 200.
    let expected = [(100, 0..2), (100, 2..4), (200, 0..1), (200, 1..2), (200, 2..3), (200, 3..4)];
    assert_eq!(steps, expected.map(|(tokens, layers)| (vec![tokens], layers)));
    world.run();
    world.check_answers();
}

#[test]
fn a_batch_within_the_budget_runs_all_layers_in_one_step() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 64), 2));
    world.step();
    let step = world.plan.encode().unwrap();
    assert!(step.is_first() && step.is_last);
    assert_eq!(step.parts, 0..4);
}

#[test]
fn a_long_source_pauses_between_layers_while_a_stream_gets_a_token_in_every_step() {
    let mut world = World::new(LIMITS);
    let stream = world.submit(asks(&source(1, 8), 20));
    world.step();
    world.step();
    world.submit(asks(&source(2, 100), 2));
    let mut layers = Vec::new();
    while world.clients.values().any(|client| client.started.is_none()) || world.plan.encode().is_some() {
        let tokens = world.answer(stream).tokens.len();
        world.step();
        assert_eq!(world.answer(stream).tokens.len(), tokens + 1);
        layers.extend(world.plan.encode().map(|step| step.parts.clone()));
    }
    // 64 tokens * 4 layers / 100 tokens = 2 layers a step.
    assert_eq!(layers, [0..2, 2..4]);
    world.run();
    world.check_answers();
}

#[test]
fn however_long_a_source_is_one_layer_runs_in_every_step() {
    let mut world = World::new(SchedulerLimits { step_encoder_tokens: 1, ..LIMITS });
    let stream = world.submit(asks(&source(1, 8), 20));
    while world.answer(stream).tokens.is_empty() {
        world.step();
    }
    world.submit(asks(&source(2, 300), 2));
    for layer in 0..4 {
        world.step();
        assert_eq!(world.plan.encode().unwrap().parts, layer..layer + 1);
    }
    world.run();
    world.check_answers();
}

#[test]
fn a_layer_that_takes_longer_than_a_step_is_divided_while_a_stream_gets_a_token_in_every_step() {
    let encoder = EncoderCost { layers: 4, wide_layers: 1, narrow_keys: 8, keys_as_products: 20 };
    let mut world = World::new(SchedulerLimits { step_encoder_tokens: 5, encoder, ..LIMITS });
    let stream = world.submit(asks(&source(1, 5), 40));
    world.step();
    world.step();
    world.submit(asks(&source(2, 60), 2));
    let mut parts = Vec::new();
    while world.clients.values().any(|client| client.started.is_none()) || world.plan.encode().is_some() {
        let tokens = world.answer(stream).tokens.len();
        world.step();
        assert_eq!(world.answer(stream).tokens.len(), tokens + 1);
        parts.extend(world.plan.encode().map(|step| (step.parts.clone(), step.of_layer, step.all_parts)));
    }
    // Of 5 tokens * 4 layers in a step, 60 tokens take 60 * (1 + 8/20) in a narrow layer and 60 * (1 + 60/20) in a wide
    // one.
    let of_layer = LayerParts { narrow: 5, wide: 12 };
    assert_eq!(parts, (0..3 * 5 + 12).map(|part| (part..part + 1, of_layer, 27)).collect::<Vec<_>>());
    world.run();
    world.check_answers();
}

#[test]
fn identical_sources_in_flight_run_the_encoder_once() {
    let mut world = World::new(LIMITS);
    let ids = [world.submit(asks(&source(1, 40), 3)), world.submit(asks(&source(1, 40), 5))];
    world.step();
    assert_eq!(lengths(&world), [40]);
    assert_eq!(world.scheduler.counts().held, 3 + 2);
    world.run();
    world.check_answers();
    assert_eq!(ids.map(|id| world.clients[&id].started), [Some(0), Some(40)]);
    let counters = world.scheduler.counters();
    assert_eq!((counters.encoder_runs, counters.cache_hits), (1, 1));
}

#[test]
fn a_finished_source_is_cached_and_its_next_request_decodes_in_its_first_step() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 40), 3));
    world.run();
    assert_eq!(world.scheduler.counts().cached, 3);
    let second = world.submit(asks(&source(1, 40), 3));
    world.step();
    assert!(world.plan.encode().is_none());
    assert_eq!(world.answer(second).tokens.len(), 1);
    assert_eq!(world.scheduler.counts().cached, 0);
    world.run();
    world.check_answers();
    assert_eq!(world.clients[&second].started, Some(40));
    assert_eq!(world.scheduler.counters().encoder_runs, 1);
}

#[test]
fn sources_are_not_shared_across_salts() {
    let mut world = World::new(LIMITS);
    for salt in [b"one", b"two"] {
        world.submit_as(&Caller { salt: Salt::of(salt), ..caller(1) }, asks(&source(1, 40), 3));
    }
    world.run();
    world.check_answers();
    assert_eq!(world.scheduler.counters().encoder_runs, 2);
}

#[test]
fn choices_of_one_request_hold_one_set_of_cross_pages_and_start_once() {
    let mut world = World::new(LIMITS);
    let asked = GenerationRequest { choices: 4, ..asks(&source(1, 40), 3) };
    let id = world.submit(asked);
    world.step();
    assert_eq!(world.scheduler.counts().held, 3 + 4);
    world.run();
    world.check_answers();
    assert_eq!(world.clients[&id].started, Some(0));
    assert_eq!(world.scheduler.counters().encoder_runs, 1);
    assert_eq!(world.scheduler.counters().cache_hits, 0);
}

#[test]
fn cached_sources_are_evicted_oldest_first_when_pages_run_short() {
    let mut world = World::new(with_pages(8));
    for name in [1, 2] {
        world.submit(asks(&source(name, 48), 2));
        world.run();
    }
    assert_eq!(world.scheduler.counts().cached, 6);
    let third = world.submit(asks(&source(3, 48), 2));
    world.run();
    let second = world.submit(asks(&source(2, 48), 2));
    world.run();
    let first = world.submit(asks(&source(1, 48), 2));
    world.run();
    world.check_answers();
    assert_eq!([third, second, first].map(|id| world.clients[&id].started), [Some(0), Some(48), Some(0)]);
}
