//! The gate without an engine: what it is told of rows and pace decides who enters.

use std::time::Duration;

use crate::overload::{Entered, Gate, GateLimits, NewCall, RowsTaken, StepTaken, WaitLimits, Work};
use crate::request::{CallId, Caller, Party, Shed, ShedReason};

/// Rows that run at once.
const ROWS: u32 = 4;
/// Time of a full step.
const STEP: Duration = Duration::from_millis(50);

/// A gate that knows the pace of full steps, and in which every row may still get so many tokens.
fn busy(left: u32) -> Gate {
    let mut gate = Gate::new(GateLimits { queued_rows: 100, wait: WaitLimits::default() });
    let work = Work { source_tokens: 0, target_tokens: ROWS.into() };
    (0..20).for_each(|_| gate.step(&StepTaken { time: STEP, work, is_full: true }));
    gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: false }, (0..ROWS).map(|_| left));
    gate
}

fn ask(gate: &mut Gate, number: u64, most: u64, time_left: Option<Duration>) -> Result<Entered, Shed> {
    let party = Party::of(number.to_string().as_bytes());
    let caller = Caller { call: CallId(number), party, ..Caller::default() };
    let work = Work { source_tokens: 0, target_tokens: most };
    gate.enter(NewCall { caller, rows: 1, work, time_left, ..NewCall::default() }, Duration::ZERO)
}

#[test]
fn rows_that_are_freed_between_steps_are_free() {
    // Answers were short, so that nobody waits for five seconds and the rest of one that may be long.
    let mut gate = busy(4000);
    gate.finished(100, 100);
    assert!(matches!(ask(&mut gate, 1, 100, None), Err(Shed { reason: ShedReason::LongWait { .. }, .. })));
    gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: false }, std::iter::empty());
    assert!(ask(&mut gate, 2, 100, None).is_ok());
}

#[test]
fn before_an_answer_has_ended_newcomers_wait_for_as_long_as_those_that_run_may_take() {
    let mut gate = busy(1000);
    let entered = (1..40).filter(|&number| ask(&mut gate, number, 1000, None).is_ok()).count() as u32;
    assert!((ROWS..2 * ROWS).contains(&entered), "about as many wait as run: {entered}");
}

#[test]
fn what_is_only_scored_says_nothing_about_the_lengths_of_answers() {
    let mut gate = busy(1000);
    (0..10).for_each(|_| gate.finished(1000, 1000));
    (0..1000).for_each(|_| gate.finished(0, 0));
    assert!(ask(&mut gate, 1, 1000, None).is_ok(), "answers take 50 seconds, and so may the wait for one");
}

#[test]
fn a_deadline_that_is_sooner_than_answers_come_is_no_sign_of_overload() {
    let mut gate = busy(100);
    (0..10).for_each(|_| gate.finished(100, 100));
    for number in 1..50 {
        let shed = ask(&mut gate, number, 100, Some(Duration::from_millis(100)));
        assert!(matches!(shed, Err(Shed { reason: ShedReason::Deadline { .. }, .. })));
    }
    assert!(!gate.figures(Duration::ZERO).is_overloaded);
    assert!(ask(&mut gate, 50, 100, None).is_ok());
}
