//! Priorities: idle requests have what interactive ones leave, and lose nothing but time.

use model::{EncoderCost, PagePieces};

use super::world::{LIMITS, World, asks, caller, source, with_pages};
use crate::request::{
    BeamSearch, Caller, EarlyStopping, EncodeRequest, GenerationRequest, Priority, Readout, RequestId,
};
use crate::scheduler::{PoolSize, SchedulerLimits};

const NARROW: SchedulerLimits = SchedulerLimits { running_rows: 4, call_rows: 4, ..LIMITS };

/// The caller of an idle call.
pub fn idle_caller(call: u64) -> Caller {
    Caller { priority: Priority::Idle, ..caller(call) }
}

fn runs(world: &World, id: RequestId) -> bool {
    world.scheduler.running.iter().any(|running| running.sequence.request.id == id)
}

/// Submits an idle request of each name, of 4 source tokens.
fn idle<const N: usize>(world: &mut World, names: [u32; N], max_tokens: u32) -> [RequestId; N] {
    names.map(|name| world.submit_as(&idle_caller(u64::from(name)), asks(&source(name, 4), max_tokens)))
}

#[test]
fn an_interactive_request_runs_in_the_next_step_although_idle_ones_have_all_rows() {
    let mut world = World::new(NARROW);
    let idle = idle(&mut world, [1, 2, 3, 4, 5], 40);
    (0..5).for_each(|_| _ = world.step());
    assert_eq!(idle.map(|id| runs(&world, id)), [true, true, true, true, false]);
    let asked = world.submit(asks(&source(9, 4), 3));
    world.step();
    assert!(runs(&world, asked), "it has a row in the first step");
    assert_eq!(idle.map(|id| runs(&world, id)), [true, true, true, false, false], "the youngest has made room");
    (0..3).for_each(|_| _ = world.step());
    assert_eq!(world.answer(asked).tokens.len(), 3, "a step for its source, and one for each token");
    world.run();
    world.check_answers();
    assert_eq!(world.started[5..], [idle[4]], "who made room comes back before those behind it");
}

#[test]
fn a_call_of_many_choices_takes_the_rows_of_several_idle_requests() {
    let mut world = World::new(NARROW);
    let idle = idle(&mut world, [1, 2, 3, 4], 30);
    (0..3).for_each(|_| _ = world.step());
    let many = world.submit(GenerationRequest { choices: 3, ..asks(&source(9, 4), 4) });
    world.step();
    assert_eq!(idle.map(|id| runs(&world, id)), [true, false, false, false]);
    assert_eq!(world.scheduler.running.iter().filter(|running| running.sequence.request.id == many).count(), 3);
    world.run();
    world.check_answers();
}

#[test]
fn idle_requests_give_up_pages_for_interactive_ones_and_get_the_same_tokens() {
    let mut world = World::new(with_pages(8));
    let idle = idle(&mut world, [1, 2], 40);
    (0..30).for_each(|_| _ = world.step());
    let asked = world.submit(asks(&source(9, 48), 60));
    world.step();
    assert!(runs(&world, asked), "its source and its first page were taken from idle requests");
    // It grows to the whole pool but a page, and takes the sources that waiting idle ones hold.
    loop {
        world.step();
        if world.answer(asked).finish.is_some() {
            break;
        }
        assert_eq!(world.scheduler.running[0].sequence.request.id, asked, "it is never preempted itself");
    }
    world.run();
    world.check_answers();
    assert!(idle.iter().all(|id| world.answer(*id).tokens.len() == 40));
}

#[test]
fn no_idle_request_is_admitted_while_an_interactive_one_waits() {
    let mut world = World::new(SchedulerLimits { running_rows: 1, ..LIMITS });
    let first = world.submit(asks(&source(8, 4), 5));
    world.step();
    let idle = idle(&mut world, [1, 2], 3);
    let late = [6, 7].map(|name| world.submit(asks(&source(name, 4), 5)));
    world.run();
    world.check_answers();
    assert_eq!(world.started, [first, late[0], late[1], idle[0], idle[1]]);
}

/// Asks for a token of this source interactively, behind six idle sources of which the first is done. It is there after
/// two steps.
fn enters_the_encoder_next(name: u32) {
    let mut world = World::new(SchedulerLimits { step_encoder_tokens: 32, ..LIMITS });
    for name in 1..=6 {
        world.submit_as(&idle_caller(u64::from(name)), asks(&source(name, 32), 4));
    }
    world.step();
    let asked = world.submit(asks(&source(name, 32), 1));
    world.step();
    world.step();
    assert_eq!(world.answer(asked).tokens.len(), 1);
    world.run();
    world.check_answers();
}

#[test]
fn an_interactive_source_enters_the_encoder_before_idle_ones() {
    enters_the_encoder_next(9);
}

#[test]
fn a_source_that_waits_as_an_idle_one_is_promoted_by_an_interactive_request_for_it() {
    enters_the_encoder_next(6);
}

#[test]
fn interactive_encoder_requests_enter_the_encoder_before_idle_ones() {
    let mut world = World::new(SchedulerLimits { step_encoder_tokens: 32, ..LIMITS });
    let asked = |name| EncodeRequest { source: source(name, 32).into(), readout: Readout::Mean };
    let idle: Vec<_> = (1..=5).map(|name| world.encode_as(&idle_caller(1), asked(name))).collect();
    world.step();
    let interactive = world.encode_as(&caller(2), asked(9));
    world.step();
    assert!(world.readers[&interactive].result.is_some());
    assert!(world.readers[&idle[1]].result.is_none());
    world.run();
    world.check_answers();
}

#[test]
fn no_plan_is_made_ahead_of_the_rows_that_idle_requests_are_to_give_up() {
    let mut world = World::running_ahead(NARROW);
    let idle = idle(&mut world, [1, 2, 3, 4], 60);
    (0..8).for_each(|_| _ = world.step());
    let (ahead, asked) = (world.ahead, world.submit(asks(&source(9, 4), 4)));
    assert!(ahead > 0);
    // A plan that was made before it came runs first.
    world.step();
    world.step();
    assert!(runs(&world, asked) && !runs(&world, idle[3]));
    world.run();
    world.check_answers();
}

#[test]
fn idle_calls_are_the_last_in_the_order() {
    assert!(Priority::Interactive < Priority::Idle);
    assert_eq!(Priority::ALL.map(Priority::index), [0, 1]);
}

/// The idle request has all rows when the first interactive one is admitted, and gives them up for the second.
#[test]
fn rows_that_an_idle_request_gives_up_run_in_the_same_step() {
    let limits = SchedulerLimits {
        pool: PoolSize { pages: 16, source_page_tokens: 8, pieces: PagePieces::ONE },
        running_rows: 2,
        call_rows: 1,
        step_rows: 2,
        step_encoder_tokens: 17,
        draft_rows: 0,
        encoder: EncoderCost::undivided(1),
    };
    let mut world = World::new(limits);
    let asked = GenerationRequest { decoder_prompt: vec![0; 3], ..asks(&[3; 33], 1) };
    world.submit_as(&idle_caller(1), asked);
    world.step();
    world.submit(asks(&[3; 33], 1));
    world.submit(asks(&[4; 34], 1));
    world.step();
    assert_eq!(world.plan.targets.len(), 1, "the first one's, whose source is there");
    world.run();
    world.check_answers();
}

#[test]
fn interactive_work_in_the_encoder_takes_no_turns_with_idle_work_of_the_other_lane() {
    let mut world = World::new(LIMITS);
    let long = EncodeRequest { source: source(1, 256).into(), readout: Readout::Mean };
    let idle = world.encode_as(&idle_caller(1), long);
    world.step();
    let interactive = [2, 3, 4].map(|name| world.encode(&source(name, 60), Readout::Mean));
    (0..3).for_each(|_| _ = world.step());
    assert!(interactive.iter().all(|id| world.readers[id].result.is_some()), "a step for each");
    assert!(world.readers[&idle].result.is_none());
    world.run();
    world.check_answers();
}

#[test]
fn a_source_in_the_encoder_is_promoted_by_an_interactive_request_for_it() {
    let mut world = World::new(LIMITS);
    world.submit_as(&idle_caller(1), asks(&source(1, 256), 2));
    world.step();
    let asked = world.submit(asks(&source(1, 256), 2));
    for _ in 0..8 {
        world.encode(&source(2, 60), Readout::Mean);
        world.step();
    }
    assert!(!world.answer(asked).tokens.is_empty(), "it takes turns with the short ones");
    world.run();
    world.check_answers();
}

#[test]
fn idle_requests_give_up_nothing_for_one_that_does_not_fit_all_the_same() {
    let mut world = World::new(with_pages(16));
    let first = world.submit(asks(&source(8, 176), 20));
    let idle = idle(&mut world, [1], 12);
    (0..6).for_each(|_| _ = world.step());
    assert!(runs(&world, first) && runs(&world, idle[0]));
    let late = world.submit(asks(&source(9, 176), 2));
    while world.answer(first).finish.is_none() {
        world.step();
        assert_eq!(world.scheduler.counters().preemptions, 0);
    }
    world.run();
    world.check_answers();
    assert!(world.started.ends_with(&[late]));
}

#[test]
fn waiting_idle_requests_keep_their_sources_where_giving_them_up_would_let_nobody_begin() {
    let mut world = World::new(with_pages(8));
    let first = world.submit(asks(&source(8, 32), 60));
    let idle = idle(&mut world, [1], 40);
    while world.scheduler.counters().preemptions == 0 {
        world.step();
    }
    let holds = |world: &World| world.scheduler.queue.waiting.iter().any(|waiting| waiting.source.is_some());
    assert!(!runs(&world, idle[0]) && holds(&world));
    // It needs six pages. The first one has four to six of eight, the source of the idle one two.
    world.submit(asks(&source(9, 80), 2));
    while world.answer(first).finish.is_none() {
        world.step();
        assert!(holds(&world) || world.answer(first).finish.is_some());
    }
    world.run();
    world.check_answers();
    assert_eq!(world.scheduler.counters().encoder_runs, 3, "each source is encoded once");
}

/// The world asserts that every step does something.
#[test]
fn rows_that_idle_requests_give_up_for_lack_of_pages_are_not_left_empty() {
    let beams = BeamSearch { width: 4, length_penalty: 1.0, early_stopping: EarlyStopping::Impossible };
    for (pages, arrival) in (9..15).flat_map(|pages| (1..60).map(move |arrival| (pages, arrival))) {
        let limits = SchedulerLimits { running_rows: 6, call_rows: 6, step_rows: 8, ..with_pages(pages) };
        let mut world = World::new(limits);
        let search = GenerationRequest { beams: Some(beams), ..asks(&source(1, 4), 28) };
        world.submit_as(&idle_caller(1), search);
        (0..8).for_each(|_| _ = world.step());
        // It preempts the search, which then runs its last tokens again, several of each branch in a step.
        world.submit(asks(&source(2, 16 * (pages - 4)), 4));
        (0..arrival).for_each(|_| _ = world.step());
        world.submit(GenerationRequest { decoder_prompt: vec![3; 20], ..asks(&source(2, 16 * (pages - 4)), 4) });
        world.run();
        world.check_answers();
    }
}

#[test]
fn plans_are_made_ahead_while_an_interactive_request_waits_for_what_idle_ones_cannot_give() {
    let mut world = World::running_ahead(SchedulerLimits { call_rows: 1, ..with_pages(40) });
    let idle = idle(&mut world, [1, 2], 60);
    let many = world.submit(GenerationRequest { choices: 2, ..asks(&source(8, 4), 30) });
    (0..12).for_each(|_| _ = world.step());
    assert!(runs(&world, many) && idle.iter().all(|id| runs(&world, *id)));
    let (ahead, steps) = (world.ahead, world.steps);
    (0..10).for_each(|_| _ = world.step());
    assert_eq!((world.ahead - ahead, world.steps - steps), (10, 10), "its second choice waits for the first");
    world.run();
    world.check_answers();
}
