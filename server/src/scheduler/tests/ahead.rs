//! Plans that are made while the previous plan's tokens are still being drawn.

use super::world::{LIMITS, World, asks, finished, source, with_pages};
use crate::request::{FinishReason, GenerationRequest};

#[test]
fn every_step_after_the_first_is_made_ahead() {
    let mut world = World::running_ahead(LIMITS);
    let ids = [world.submit(asks(&source(1, 20), 12)), world.submit(asks(&source(2, 20), 12))];
    world.run();
    world.check_answers();
    assert!(ids.iter().all(|id| world.answer(*id).tokens.len() == 12));
    // The sources are encoded, then twelve tokens drawn.
    assert_eq!((world.ahead, world.steps), (12, 13));
}

#[test]
fn a_row_that_was_made_ahead_of_an_end_token_is_thrown_away_and_its_pages_come_back() {
    // Some of these texts end by themselves, at different lengths.
    let mut world = World::running_ahead(LIMITS);
    for name in 1..40 {
        world.submit(GenerationRequest { ignore_end: false, ..asks(&source(name, 5), 40) });
    }
    let mut stopped = 0;
    while !world.scheduler.is_idle() {
        let ended = finished(&world.step());
        stopped += ended.iter().filter(|(_, reason)| *reason == FinishReason::Stop).count();
    }
    world.check_answers();
    assert!(stopped > 5 && world.ahead > 0, "{stopped} texts ended by themselves, {} plans ahead", world.ahead);
}

#[test]
fn a_request_that_can_be_admitted_is_not_made_to_wait_by_plans_ahead() {
    let mut world = World::running_ahead(LIMITS);
    world.submit(asks(&source(1, 20), 30));
    for _ in 0..10 {
        world.step();
    }
    let ahead = world.ahead;
    let late = world.submit(asks(&source(2, 20), 3));
    let mut steps = 0;
    while world.answer(late).tokens.is_empty() {
        world.step();
        steps += 1;
    }
    // The plan that was under way, one that encodes the source, one that decodes.
    assert_eq!(steps, 3);
    assert_eq!(world.ahead, ahead + 3);
    world.run();
    world.check_answers();
}

#[test]
fn a_cancelled_stream_says_nothing_more_although_rows_of_it_are_under_way() {
    let mut world = World::running_ahead(LIMITS);
    let (gone, stays) = (world.submit(asks(&source(1, 20), 30)), world.submit(asks(&source(2, 20), 30)));
    for _ in 0..8 {
        world.step();
    }
    assert!(world.ahead > 3);
    world.cancel(gone, None);
    // The plan under way, then the one that was made ahead of it.
    world.step();
    world.step();
    assert_eq!(world.scheduler.running_rows(), 1);
    world.run();
    world.check_answers();
    assert_eq!(world.answer(stays).tokens.len(), 30);
}

#[test]
fn log_probabilities_are_read_before_the_next_step_overwrites_them() {
    let mut world = World::running_ahead(LIMITS);
    world.submit(GenerationRequest { log_probs: Some(2), ..asks(&source(1, 20), 12) });
    world.submit(asks(&source(2, 20), 12));
    world.run();
    world.check_answers();
    // Only the first plan that draws is made ahead. The later ones wait for scores.
    assert_eq!(world.ahead, 1);
}

#[test]
fn a_queue_of_requests_is_admitted_and_encoded_ahead() {
    // More requests than run at once; the longest sources are encoded in several steps. Some requests reuse a source.
    let mut world = World::running_ahead(LIMITS);
    let mut name = 0;
    for source_tokens in [3, 33, 83] {
        for decoder_prompt in [vec![], vec![5], vec![5, 6, 7, 8]] {
            for (choices, max_tokens) in [(1, 3), (2, 3), (1, 13), (2, 13)] {
                name += 1;
                let asked = asks(&source(name % 10, source_tokens), max_tokens);
                world.submit(GenerationRequest { decoder_prompt: decoder_prompt.clone(), choices, ..asked });
            }
        }
    }
    world.run();
    world.check_answers();
    assert!(world.scheduler.counters().cache_hits > 0, "sources are reused");
    assert_eq!(world.ahead + 1, world.steps, "nobody waits for the host after the first step");
}

#[test]
fn a_source_given_up_while_a_plan_ahead_encodes_it_leaves_the_others_of_its_batch() {
    let mut world = World::running_ahead(LIMITS);
    world.submit(asks(&source(1, 20), 30));
    for _ in 0..4 {
        world.step();
    }
    let (gone, stays) = (world.submit(asks(&source(2, 20), 5)), world.submit(asks(&source(3, 20), 5)));
    let result = world.plan_and_run();
    world.cancel(gone, None);
    world.commit(&result);
    world.run();
    world.check_answers();
    assert_eq!(world.answer(stays).tokens.len(), 5);
}

#[test]
fn without_pages_for_it_a_step_is_not_made_ahead() {
    // Two sources of a page each leave three pages for targets of two pages each.
    let mut world = World::running_ahead(with_pages(5));
    world.submit(asks(&source(1, 16), 24));
    world.submit(asks(&source(2, 16), 24));
    world.run();
    world.check_answers();
    assert!(world.ahead > 0 && world.scheduler.counters().preemptions > 0);
}
