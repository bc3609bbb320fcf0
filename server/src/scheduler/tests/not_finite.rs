//! Logits that are no numbers, in rows of every kind: their requests fail with that reason, and no others.

use std::sync::Arc;

use super::fake_model::BROKEN;
use super::rhythm::Rhythm;
use super::world::{LIMITS, World, asks, source};
use crate::request::{BeamSearch, Controls, EarlyStopping, GenerationRequest};
use crate::scheduler::NoToken;

/// Requests of several kinds about this source, most of which may not choose every id.
fn requests(source: &[u32]) -> Vec<GenerationRequest> {
    let plain = || asks(source, 9);
    let ruled = |controls: Controls| GenerationRequest { controls: Arc::new(controls.in_order()), ..plain() };
    let free = Controls::default;
    let bans = || Controls { banned: vec![4, 5], allowed: Some((0..20).collect()), ..free() };
    let beams = BeamSearch { width: 3, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
    let search = |asked: GenerationRequest| GenerationRequest { beams: Some(beams), choices: 2, ..asked };
    vec![
        plain(),
        ruled(bans()),
        ruled(Controls { no_repeat_ngram: 1, ..free() }),
        ruled(Controls { bad_words: vec![vec![4, 5]], ..free() }),
        GenerationRequest { log_probs: Some(2), ..ruled(bans()) },
        GenerationRequest { constraint: Some(Rhythm { bar: 4, bars: 3 }.constraint()), ..plain() },
        search(plain()),
        search(ruled(bans())),
        search(GenerationRequest { constraint: Some(Rhythm { bar: 4, bars: 3 }.constraint()), ..plain() }),
        GenerationRequest { choices: 3, speculation: true, ..plain() },
    ]
}

#[test]
fn whatever_a_request_refuses_logits_that_are_no_numbers_are_its_failure_and_touch_no_neighbour() {
    for mut world in [World::new(LIMITS), World::running_ahead(LIMITS)] {
        let mut broken = Vec::new();
        let (sound, bad) = (requests(&source(3, 12)), requests(&source(BROKEN, 12)));
        for (sound, bad) in sound.into_iter().zip(bad) {
            world.submit(sound);
            broken.push(world.submit(bad));
        }
        world.run();
        world.check_answers();
        for (id, client) in &world.clients {
            let failure = broken.contains(id).then_some(NoToken::NotFinite);
            assert_eq!(client.failure, failure, "{client:?}");
        }
    }
}

/// A branch of a search whose logits are no numbers ends the search, though other branches have candidates.
#[test]
fn one_branch_without_numbers_ends_its_search() {
    let mut world = World::new(LIMITS);
    let search = requests(&source(3, 12)).swap_remove(7);
    let (id, other) = (world.submit(search), world.submit(asks(&source(4, 5), 6)));
    world.step();
    while world.plan.best_asks().count() < 3 {
        world.step();
    }
    let mut result = world.plan_and_run();
    result.best[1].clear();
    world.commit(&result);
    world.run();
    assert_eq!(world.clients.get_mut(&id).unwrap().failure.take(), Some(NoToken::NotFinite));
    world.check_answers();
    assert_eq!(world.answer(other).tokens.len(), 6);
}
