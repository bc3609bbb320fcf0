//! Pages with several owners, and the check that finds broken books.

use super::world::{LIMITS, World, asks, source};
use crate::request::GenerationRequest;
use crate::scheduler::{Found, Imbalance, PageImbalance, SchedulerLimits, SequenceId};

/// A world in which two sequences are decoded.
fn decoding() -> World {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 4), 20));
    world.submit(asks(&source(2, 4), 20));
    world.step();
    world.step();
    world
}

#[test]
#[should_panic(expected = "a page that is shared is not written")]
fn a_page_that_is_shared_is_not_written() {
    let mut world = World::new(SchedulerLimits { step_rows: 32, ..LIMITS });
    world.submit(GenerationRequest { decoder_prompt: vec![3; 20], ..asks(&source(1, 4), 20) });
    world.step();
    // The prompt's first page may be somebody else's, the second one not.
    let pages = world.scheduler.running[0].branches[0].pages.clone();
    world.scheduler.memory.pool.retain(&pages[1..2]);
    world.scheduler.plan(&mut world.plan);
}

#[test]
fn a_full_page_may_be_shared_while_its_owner_goes_on_in_the_next_one() {
    let mut world = World::new(LIMITS);
    let id = world.submit(asks(&source(1, 4), 20));
    while world.scheduler.running.first().is_none_or(|running| running.branches[0].pages.len() < 2) {
        world.step();
    }
    let full = world.scheduler.running[0].branches[0].pages[..1].to_vec();
    world.scheduler.memory.pool.retain(&full);
    world.scheduler.plan(&mut world.plan);
    let found = Found { chosen: &[Some(7)], best: &[], plan: &world.plan, late: &[] };
    world.scheduler.commit(found, &mut Vec::new());
    world.scheduler.cancel(id, None);
    assert_eq!(world.scheduler.memory.pool.references(full[0]), 1, "the other owner still has the page");
    world.scheduler.memory.pool.release(&full);
    assert_eq!(world.scheduler.check_conservation(), Ok(()));
}

#[test]
fn a_reference_without_an_owner_is_found() {
    let mut world = decoding();
    let page = world.scheduler.running[0].branches[0].pages[0];
    world.scheduler.memory.pool.retain(&[page]);
    let expected = Imbalance::Pages(PageImbalance::References { page, owners: 1, references: 2 });
    assert_eq!(world.scheduler.check_conservation(), Err(expected));
}

#[test]
fn a_lost_page_is_found() {
    let mut world = decoding();
    let page = world.scheduler.running[0].branches[0].pages.pop().unwrap();
    let expected = Imbalance::Pages(PageImbalance::References { page, owners: 0, references: 1 });
    assert_eq!(world.scheduler.check_conservation(), Err(expected));
}

#[test]
fn a_sequence_that_runs_before_an_older_one_is_found() {
    let mut world = decoding();
    world.scheduler.running.swap(0, 1);
    let expected = Imbalance::OutOfOrder { sequence: SequenceId(1) };
    assert_eq!(world.scheduler.check_conservation(), Err(expected));
}

#[test]
fn a_source_that_is_held_and_may_be_evicted_is_found() {
    let mut world = decoding();
    let slot = world.scheduler.running[0].source;
    world.scheduler.memory.sources.set_idle(slot);
    let page = world.scheduler.memory.sources.get(slot).pages()[0];
    let expected = Imbalance::WrongHolders { page, holders: 1, is_idle: true };
    assert_eq!(world.scheduler.check_conservation(), Err(expected));
}

#[test]
fn a_source_that_nobody_holds_and_that_is_never_evicted_is_found() {
    let mut world = decoding();
    let slot = world.scheduler.running[0].source;
    world.run();
    assert_eq!(world.scheduler.check_conservation(), Ok(()));
    world.scheduler.memory.sources.set_held(slot);
    let page = world.scheduler.memory.sources.get(slot).pages()[0];
    let expected = Imbalance::WrongHolders { page, holders: 0, is_idle: false };
    assert_eq!(world.scheduler.check_conservation(), Err(expected));
}
