//! Calls take turns, and none has all rows.

use super::world::{LIMITS, World, asks, caller, source};
use crate::overload::StartLimits;
use crate::request::{BeamSearch, Caller, GenerationRequest, Party, Priority, RequestDefaults, RequestId};
use crate::scheduler::SchedulerLimits;

const NARROW: SchedulerLimits = SchedulerLimits { running_rows: 4, call_rows: 3, ..LIMITS };

/// Sequences of a request that run.
fn rows_of(world: &World, id: RequestId) -> usize {
    world.scheduler.running.iter().filter(|running| running.sequence.request.id == id).count()
}

#[test]
fn a_call_of_many_sequences_leaves_rows_to_others() {
    let mut world = World::new(NARROW);
    let many = GenerationRequest { choices: 12, ..asks(&source(1, 4), 20) };
    let many = world.submit(many);
    world.step();
    assert_eq!((rows_of(&world, many), world.scheduler.waiting()), (3, 9));
    let single = world.submit(asks(&source(2, 4), 2));
    for _ in 0..4 {
        world.step();
    }
    assert_eq!(world.answer(single).tokens.len(), 2, "it did not wait for any of the others");
    world.run();
    world.check_answers();
}

#[test]
fn the_prompts_of_a_call_share_its_rows() {
    let mut world = World::new(NARROW);
    let ids = [1, 2, 3, 4, 5].map(|name| world.submit_as(&caller(1), asks(&source(name, 4), 9)));
    world.step();
    assert_eq!(ids.map(|id| rows_of(&world, id)), [1, 1, 1, 0, 0]);
    world.run();
    world.check_answers();
    assert_eq!(world.started, ids);
}

#[test]
fn calls_that_wait_get_a_row_each_before_one_gets_a_second() {
    let mut world = World::new(SchedulerLimits { running_rows: 1, ..LIMITS });
    let busy = world.submit(asks(&source(9, 4), 3));
    world.step();
    let (first, second) = (caller(100), caller(200));
    let ids = [(&first, 1), (&first, 2), (&first, 3), (&second, 4), (&second, 5)]
        .map(|(caller, name)| world.submit_as(caller, asks(&source(name, 4), 2)));
    let late = world.submit(asks(&source(6, 4), 2));
    world.run();
    world.check_answers();
    let [a, b, c, d, e] = ids;
    assert_eq!(world.started, [busy, a, d, late, b, e, c]);
}

#[test]
fn what_is_cancelled_before_its_turn_never_runs() {
    let mut world = World::new(NARROW);
    let many = GenerationRequest { choices: 8, ..asks(&source(1, 4), 6) };
    let (many, other) = (world.submit(many), world.submit(asks(&source(2, 4), 6)));
    world.step();
    world.cancel(many, Some(7));
    world.cancel(other, None);
    world.step();
    assert_eq!(world.scheduler.waiting(), 4, "of eight, three run and one was cancelled");
    world.cancel(many, None);
    world.step();
    assert!(world.scheduler.is_idle());
}

#[test]
fn a_client_s_flood_of_calls_delays_another_client_by_one_turn() {
    let mut world = World::new(SchedulerLimits { running_rows: 1, ..LIMITS });
    let of = |party: &str, call| Caller { party: Party::of(party.as_bytes()), ..caller(call) };
    let flood = [1, 2, 3, 4].map(|name| world.submit_as(&of("flood", name.into()), asks(&source(name, 4), 2)));
    world.step();
    let other = world.submit_as(&of("other", 9), asks(&source(9, 4), 2));
    world.run();
    world.check_answers();
    let [a, b, c, d] = flood;
    assert_eq!(world.started, [a, other, b, c, d]);
}

#[test]
fn no_more_sequences_begin_in_a_step_than_it_is_told_to_begin() {
    let mut world = World::new(SchedulerLimits { running_rows: 4, ..LIMITS });
    (1..=4).for_each(|name| _ = world.submit(asks(&source(name, 4), 9)));
    let begin = |begin| StartLimits { begin, ..StartLimits::default() };
    world.scheduler.limit_starts(begin(2));
    world.step();
    assert_eq!((world.scheduler.running.len(), world.scheduler.rows_taken().is_blocked), (2, Some(false)));
    assert_eq!((world.scheduler.rows_begun(), world.scheduler.is_full()), (2, true), "others were not to begin yet");
    world.scheduler.limit_starts(begin(0));
    world.step();
    assert_eq!(world.scheduler.running.len(), 2);
    world.scheduler.limit_starts(StartLimits::default());
    world.step();
    assert_eq!(world.scheduler.running.len(), 4);
    world.run();
    world.check_answers();
}

#[test]
fn no_more_rows_run_than_it_is_told_to_run_but_for_a_sequence_that_has_more() {
    let mut world = World::new(SchedulerLimits { running_rows: 8, ..LIMITS });
    (1..=8).for_each(|name| _ = world.submit(asks(&source(name, 4), 9)));
    world.scheduler.limit_starts(StartLimits { running: 3, ..StartLimits::default() });
    world.step();
    let taken = world.scheduler.rows_taken();
    assert_eq!((world.scheduler.running_rows(), world.scheduler.is_full(), taken.is_blocked), (3, true, Some(false)));
    world.scheduler.limit_starts(StartLimits::default());
    world.step();
    assert_eq!(world.scheduler.running_rows(), 8);
    world.scheduler.limit_starts(StartLimits { running: 3, ..StartLimits::default() });
    world.step();
    assert_eq!(world.scheduler.running_rows(), 8, "who runs goes on");
    world.run();
    let wide = world.submit(GenerationRequest {
        beams: Some(BeamSearch { width: 5, ..RequestDefaults::SEARCH }),
        ..asks(&source(9, 4), 4)
    });
    world.scheduler.limit_starts(StartLimits { running: 3, ..StartLimits::default() });
    world.step();
    assert_eq!(rows_of(&world, wide), 1, "its five rows are more than may run");
    world.run();
    world.check_answers();
}

#[test]
fn idle_sequences_give_up_rows_beyond_the_limit_to_interactive_ones_only() {
    let mut world = World::new(SchedulerLimits { running_rows: 4, ..LIMITS });
    let idle = Caller { priority: Priority::Idle, ..caller(1) };
    let ids = [1, 2, 3, 4].map(|name| world.submit_as(&idle, asks(&source(name, 4), 9)));
    world.step();
    assert_eq!(world.scheduler.running_rows(), 4);
    let interactive = world.submit(asks(&source(5, 4), 9));
    world.scheduler.limit_starts(StartLimits { running: 2, ..StartLimits::default() });
    world.step();
    assert_eq!(rows_of(&world, interactive), 1);
    assert_eq!(ids.iter().map(|id| rows_of(&world, *id)).sum::<usize>(), 1, "two rows may run");
    world.run();
    world.check_answers();
}

#[test]
fn idle_sequences_have_what_is_left_of_a_plan_and_take_nothing_from_interactive_ones() {
    let mut world = World::new(SchedulerLimits { running_rows: 4, ..LIMITS });
    let idle = Caller { priority: Priority::Idle, ..caller(1) };
    let ids = [1, 2, 3].map(|name| world.submit_as(&idle, asks(&source(name, 4), 9)));
    let interactive = world.submit(asks(&source(5, 4), 9));
    world.scheduler.limit_starts(StartLimits { begin: 2, ..StartLimits::default() });
    world.step();
    assert_eq!(rows_of(&world, interactive), 1);
    assert_eq!(ids.iter().map(|id| rows_of(&world, *id)).sum::<usize>(), 1, "two rows may begin");
    assert_eq!(world.scheduler.rows_begun(), 1, "one of them is an interactive one's");
    world.scheduler.limit_starts(StartLimits::default());
    world.run();
    world.check_answers();
}

#[test]
fn an_answer_that_was_preempted_goes_on_whatever_may_begin_and_an_idle_one_does_not() {
    for priority in Priority::ALL {
        let mut world = World::new(SchedulerLimits { running_rows: 4, ..LIMITS });
        let caller = Caller { priority, ..caller(1) };
        let ids = [1, 2, 3].map(|name| world.submit_as(&caller, asks(&source(name, 4), 9)));
        world.step();
        world.step();
        world.scheduler.preempt_youngest();
        let newcomer = world.submit(asks(&source(5, 4), 9));
        let goes_on = usize::from(priority == Priority::Interactive);
        world.scheduler.limit_starts(StartLimits { begin: 0, running: 1 });
        world.step();
        assert_eq!(ids.map(|id| rows_of(&world, id)), [1, 1, goes_on], "{priority:?}");
        assert_eq!((rows_of(&world, newcomer), world.scheduler.rows_begun()), (0, 0), "{priority:?}");
        world.scheduler.limit_starts(StartLimits::default());
        world.run();
        world.check_answers();
    }
}

#[test]
fn a_sequence_wider_than_the_limit_begins_only_below_it() {
    let mut world = World::new(SchedulerLimits { running_rows: 8, ..LIMITS });
    (1..=3).for_each(|name| _ = world.submit(asks(&source(name, 4), 9)));
    world.step();
    let wide = world.submit(GenerationRequest {
        beams: Some(BeamSearch { width: 5, ..RequestDefaults::SEARCH }),
        ..asks(&source(9, 4), 4)
    });
    let limits = |running| StartLimits { running, ..StartLimits::default() };
    world.scheduler.limit_starts(limits(3));
    world.step();
    assert_eq!((rows_of(&world, wide), world.scheduler.running_rows()), (0, 3));
    world.scheduler.limit_starts(limits(4));
    world.step();
    assert_eq!(world.scheduler.running_rows(), 8);
    world.scheduler.limit_starts(StartLimits::default());
    world.run();
    world.check_answers();
}
