//! Pieces of pages behind the windows of sliding layers are given back while targets go on.

use model::PagePieces;
use proptest::prelude::*;

use super::constraints::exact;
use super::priority::idle_caller;
use super::world::{LIMITS, World, asks, source};
use crate::request::{BeamSearch, EarlyStopping, GenerationRequest};
use crate::scheduler::windows::GivenBack;
use crate::scheduler::{PoolSize, SchedulerLimits};

/// One piece of four is needed to the end; rows read the others 20 positions back.
const PIECES: PagePieces = PagePieces { all: 4, windowed: 3, window: 20 };

/// Pages of one piece, and of several that are given back behind windows of different lengths.
pub fn pieces() -> impl Strategy<Value = PagePieces> {
    let divided = (2usize..5, 1usize..4, 1usize..40);
    let divided =
        divided.prop_map(|(all, windowed, window)| PagePieces { all, windowed: windowed.min(all - 1), window });
    prop_oneof![1 => Just(PagePieces::ONE), 2 => divided]
}

fn world(pages: usize, pieces: PagePieces) -> World {
    World::new(SchedulerLimits { pool: PoolSize { pages, pieces, ..LIMITS.pool }, ..LIMITS })
}

/// Number of pages that each running sequence gave back.
fn given_back(world: &World) -> Vec<usize> {
    let pages = |given: GivenBack| given.of_prompt + given.after;
    world.scheduler.running.iter().map(|running| pages(running.given_back)).collect()
}

/// Runs until the first sequence has computed so many positions.
fn run_to(world: &mut World, computed: usize) {
    while world.scheduler.running.first().is_none_or(|running| running.computed < computed) {
        world.step();
    }
}

#[test]
fn a_long_target_holds_what_full_layers_read_and_the_window_of_sliding_ones() {
    for (pieces, held) in [(PIECES, 5), (PagePieces::ONE, 11)] {
        let mut world = world(64, pieces);
        world.submit(asks(&source(1, 16), 160));
        run_to(&mut world, 159);
        // Ten pages, of which the last two are whole: 10 + 2 * 3 pieces, and the four of the source.
        assert_eq!(world.scheduler.counts().held, held);
        world.run();
        world.check_answers();
    }
}

#[test]
fn more_long_targets_run_at_once() {
    let preemptions = |pieces| {
        let mut world = world(24, pieces);
        (1..5).for_each(|name| _ = world.submit(asks(&source(name, 16), 150)));
        world.run();
        world.check_answers();
        world.scheduler.counters().preemptions
    };
    assert_eq!(preemptions(PIECES), 0);
    assert!(preemptions(PagePieces::ONE) > 0, "four targets of ten pages beside their sources take 44");
}

#[test]
fn a_preempted_target_begins_with_whole_pages_again() {
    let mut world = world(14, PIECES);
    (1..3).for_each(|name| _ = world.submit(asks(&source(name, 16), 150)));
    run_to(&mut world, 100);
    assert_eq!(given_back(&world), [5, 5]);
    world.scheduler.preempt_youngest();
    world.run();
    world.check_answers();
}

#[test]
fn pages_of_a_prompt_that_others_share_wait_until_these_are_gone_and_those_behind_it_do_not() {
    let mut world = world(64, PIECES);
    let asked = GenerationRequest { choices: 2, decoder_prompt: (3..36).collect(), ..asks(&source(1, 4), 60) };
    let request = world.submit(asked);
    run_to(&mut world, 80);
    assert_eq!(given_back(&world), [1, 1], "both choices own the two pages of the prompt");
    world.cancel(request, Some(1));
    world.step();
    assert_eq!(given_back(&world), [3]);
    world.run();
    world.check_answers();
}

#[test]
fn who_comes_late_does_not_share_a_beginning_that_was_given_back() {
    for (prompt, shared) in [(33, 32), (100, 0)] {
        let mut world = world(64, PIECES);
        let asked = |max_tokens| GenerationRequest {
            decoder_prompt: (0..prompt).map(|id| 3 + id % 30).collect(),
            ..asks(&source(1, 4), max_tokens)
        };
        // The first target gives back what lies 20 positions behind it: the second would read that.
        world.submit(asked(90));
        run_to(&mut world, if shared == 0 { 150 } else { 34 });
        world.submit(asked(9));
        let before = world.scheduler.running.len();
        while world.scheduler.running.len() == before {
            world.step();
        }
        let began = world.plan.targets.positions.iter().filter(|&&position| position == 0).count();
        assert_eq!(began, usize::from(shared == 0), "{prompt} tokens");
        world.run();
        world.check_answers();
    }
}

#[test]
fn branches_of_a_beam_search_give_back_together_and_an_exact_search_keeps_all() {
    let mut beams = world(64, PIECES);
    let search = BeamSearch { width: 3, length_penalty: 0.0, early_stopping: EarlyStopping::Unlikely };
    beams.submit(GenerationRequest { beams: Some(search), ..asks(&source(1, 16), 100) });
    run_to(&mut beams, 90);
    assert_eq!(given_back(&beams), [4], "71 positions lie behind the window");
    beams.run();
    beams.check_answers();
    let mut kept = world(64, PagePieces { window: 1, ..PIECES });
    kept.submit(GenerationRequest { decoder_prompt: (3..40).collect(), ..exact(1) });
    run_to(&mut kept, 39);
    while !kept.scheduler.is_idle() {
        assert!(given_back(&kept).iter().all(|&pages| pages == 0));
        kept.step();
    }
    kept.check_answers();
}

#[test]
fn a_beginning_is_shared_without_what_nobody_reads_and_passed_on() {
    let mut world = world(64, PIECES);
    let asked = |max_tokens| GenerationRequest {
        decoder_prompt: (0..50).map(|id| 3 + id % 30).collect(),
        ..asks(&source(1, 4), max_tokens)
    };
    let first = world.submit(asked(90));
    run_to(&mut world, 48);
    let second = world.submit(asked(90));
    for running in 2..4 {
        while world.scheduler.running.len() < running {
            world.step();
            let begins = world.plan.targets.positions.contains(&0);
            assert!(!begins, "three pages are taken over, of which one lacks what is not read");
        }
        assert_eq!(given_back(&world), vec![1; running]);
        if running == 2 {
            world.submit(asked(40));
        }
    }
    world.cancel(first, None);
    world.cancel(second, None);
    world.run();
    world.check_answers();
}

#[test]
fn an_idle_target_that_gave_pieces_back_makes_room_with_what_it_has_left() {
    // The idle target has ten pages, of which it holds what makes four, beside its source: eleven are left.
    for (tokens, is_preempted) in [(160, false), (176, true), (208, true)] {
        let mut world = world(16, PIECES);
        world.submit_as(&idle_caller(1), asks(&source(1, 16), 170));
        run_to(&mut world, 150);
        assert_eq!(world.scheduler.counts().free, 11);
        let head = world.submit(asks(&source(2, tokens), 3));
        for _ in 0..4 {
            world.step();
        }
        assert!(world.scheduler.running.iter().any(|running| running.sequence.request.id == head), "{tokens} tokens");
        assert_eq!(world.scheduler.counters().preemptions > 0, is_preempted, "{tokens} tokens");
        world.run();
        world.check_answers();
    }
}
