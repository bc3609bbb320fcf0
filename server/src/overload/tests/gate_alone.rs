//! The gate without an engine: what it is told of rows and pace decides who enters.

use std::time::Duration;

use crate::overload::asked::Asked;
use crate::overload::{CallKind, Entered, Gate, GateLimits, NewCall, RowsTaken, StepTaken, Visitor, WaitLimits, Work};
use crate::request::{CallId, Caller, Party, Priority, Shed, ShedReason};

/// Rows that run at once.
const ROWS: u32 = 4;
/// Time of a full step.
const STEP: Duration = Duration::from_millis(50);

/// A gate that knows the pace of full steps, and in which every row may still get so many tokens.
fn busy(left: u32) -> Gate {
    let mut gate = Gate::new(GateLimits { queued_rows: 100, wait: WaitLimits::default(), draft_rows: 0 });
    let work = Work { source_tokens: 0, target_tokens: ROWS.into() };
    (0..20).for_each(|_| {
        gate.step(&StepTaken { time: STEP, work, rows: ROWS as usize, is_full: true, encodings_wait: false })
    });
    gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: Some(false) }, (0..ROWS).map(|_| left));
    gate
}

/// Lets a row end after a hundred steps of four, and another begin.
fn end_a_row(gate: &mut Gate, left: u32) {
    let work = Work { source_tokens: 0, target_tokens: ROWS.into() };
    let step = StepTaken { time: STEP, work, rows: ROWS as usize, is_full: true, encodings_wait: false };
    (0..25).for_each(|_| gate.step(&step));
    gate.begun(1);
    gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: Some(false) }, (0..ROWS).map(|_| left));
    gate.finished(100, 100);
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
    gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: Some(false) }, std::iter::empty());
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

/// A gate that knows steps of 1 row that take 6 ms, and full ones of 64 rows that take 60 ms.
fn idle(draft_rows: usize) -> Gate {
    let mut gate = Gate::new(GateLimits { queued_rows: 100, wait: WaitLimits::default(), draft_rows });
    let mut steps = |rows: u64, millis, is_full| {
        let work = Work { source_tokens: 0, target_tokens: rows };
        let time = Duration::from_millis(millis);
        (0..50).for_each(|_| gate.step(&StepTaken { time, work, rows: rows as usize, is_full, encodings_wait: false }));
    };
    steps(64, 60, true);
    steps(1, 6, false);
    gate.rows(RowsTaken { rows: 64, is_blocked: Some(false) }, std::iter::empty());
    gate
}

#[test]
fn an_idle_server_is_given_what_it_can_answer_in_time_although_full_steps_are_slower() {
    let ask = |gate: &mut Gate, number, millis| {
        let caller = Caller { call: CallId(number), ..Caller::default() };
        let work = Work { source_tokens: 2000, target_tokens: 32 };
        let time_left = Some(Duration::from_millis(millis));
        gate.enter(NewCall { caller, rows: 1, work, least: work, time_left, ..NewCall::default() }, Duration::ZERO)
    };
    let run = |gate: &mut Gate, rows| gate.rows(RowsTaken { rows: 64, is_blocked: Some(false) }, (0..rows).map(|_| 40));
    let mut gate = idle(0);
    let entered = ask(&mut gate, 1, 1).expect("whoever comes alone is given a try");
    assert_eq!(entered.least_time, Duration::ZERO);
    gate.leave(CallId(1), 1);
    // A step takes 5.14 ms of its own and 0.857 ms for each row.
    run(&mut gate, 1);
    let entered = ask(&mut gate, 2, 200).expect("32 steps are done in time, and the source may be there");
    assert_eq!(entered.least_time.as_millis(), 192);
    gate.leave(CallId(2), 1);
    assert!(matches!(ask(&mut gate, 3, 190), Err(Shed { reason: ShedReason::Deadline { .. }, .. })));
    run(&mut gate, 29);
    let Err(Shed { reason: ShedReason::Deadline { needed }, .. }) = ask(&mut gate, 4, 900) else { panic!() };
    assert_eq!(needed.as_millis(), 960);
    assert!(ask(&mut gate, 5, 1000).is_ok());
    let mut gate = idle(16);
    run(&mut gate, 1);
    let entered = ask(&mut gate, 1, 25).expect("a step may have 8 tokens of it of which 7 were drafted");
    assert_eq!(entered.least_time.as_millis(), 24);
}

#[test]
fn who_is_not_read_yet_is_refused_only_if_it_could_not_enter_as_what_it_is() {
    let mut gate = busy(4000);
    gate.finished(100, 100);
    let visitor = |kind| Visitor { kind, party: Party::of(b"v"), ..Visitor::default() };
    for (kind, may_enter) in [(CallKind::Targets, false), (CallKind::Encodings, true), (CallKind::Any, true)] {
        assert_eq!(gate.may_enter(&visitor(kind), Duration::ZERO), may_enter, "{kind:?}");
        let idle = Visitor { priority: Priority::Idle, ..visitor(kind) };
        assert!(gate.may_enter(&idle, Duration::ZERO), "{kind:?}: it waits for as long as it must");
    }
    assert_eq!(gate.figures(Duration::ZERO).shed, [0; 4], "looking counts nothing");
    assert!(gate.check(&visitor(CallKind::Encodings), Duration::ZERO).is_ok());
    assert!(gate.check(&visitor(CallKind::Targets), Duration::ZERO).is_err());
    assert_eq!(gate.figures(Duration::ZERO).shed, [0, 1, 0, 0]);
}

#[test]
fn who_has_nothing_in_a_full_queue_is_read_as_those_with_more_make_room() {
    let mut gate = Gate::new(GateLimits { queued_rows: 4, wait: WaitLimits::default(), draft_rows: 0 });
    let flood = Party::of(b"flood");
    for number in 1..=4 {
        let caller = Caller { call: CallId(number), party: flood.clone(), ..Caller::default() };
        let work = Work { source_tokens: 10, target_tokens: 10 };
        assert!(gate.enter(NewCall { caller, rows: 1, work, ..NewCall::default() }, Duration::ZERO).is_ok());
    }
    let visitor = |party| Visitor { party, ..Visitor::default() };
    assert!(gate.may_enter(&visitor(Party::of(b"other")), Duration::ZERO));
    assert!(!gate.may_enter(&visitor(flood), Duration::ZERO));
    assert_eq!(gate.free(Priority::Interactive), 0, "nobody was recalled for it");
}

#[test]
fn nobody_is_recalled_for_a_call_that_does_not_get_its_places_all_the_same() {
    let mut gate = Gate::new(GateLimits { queued_rows: 4, wait: WaitLimits::default(), draft_rows: 0 });
    let mut ask = |number, party: &[u8], rows| {
        let caller = Caller { call: CallId(number), party: Party::of(party), ..Caller::default() };
        let work = Work { source_tokens: 10, target_tokens: 10 };
        gate.enter(NewCall { caller, rows, work, ..NewCall::default() }, Duration::ZERO)
    };
    let heavy: Vec<Entered> = (1..=3).map(|number| ask(number, b"heavy", 1).unwrap()).collect();
    let light = ask(4, b"light", 1).unwrap();
    assert!(ask(5, b"wide", 4).is_err(), "the last place is that of a client with no more than it asks for");
    assert!(heavy.iter().chain([&light]).all(|entered| entered.recall.shed().is_none()));
    assert!(ask(6, b"narrow", 1).is_ok());
    assert!(heavy[2].recall.shed().is_some(), "the youngest of the client with the most");
}

#[test]
fn the_queue_lasts_a_step_in_overload_even_where_nobody_is_to_wait() {
    let wait = WaitLimits { usual: Duration::ZERO, overload_percent: 0 };
    let mut gate = Gate::new(GateLimits { queued_rows: 100, wait, draft_rows: 0 });
    let work = Work { source_tokens: 0, target_tokens: 4 };
    (0..20).for_each(|_| gate.step(&StepTaken { time: STEP, work, rows: 4, is_full: true, encodings_wait: false }));
    gate.finished(1, 1);
    let rows = |gate: &mut Gate, left| {
        gate.rows(RowsTaken { rows: 4, is_blocked: Some(false) }, [left; 4].into_iter());
    };
    rows(&mut gate, 100);
    assert!(ask(&mut gate, 1, 1, None).is_err());
    assert!(gate.figures(Duration::ZERO).is_overloaded);
    rows(&mut gate, 1);
    assert!(ask(&mut gate, 2, 1, None).is_ok(), "a row is free after this step");
}

#[test]
fn where_nothing_runs_something_may_begin_however_much_began_before() {
    let mut gate = busy(4000);
    end_a_row(&mut gate, 4000);
    assert!(ask(&mut gate, 1, 100, None).is_err());
    assert_eq!(gate.starts(Duration::ZERO).begin, 1);
    gate.begun(30);
    assert_eq!(gate.starts(Duration::ZERO).begin, 0);
    gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: Some(false) }, std::iter::empty());
    assert_eq!(gate.starts(Duration::ZERO).begin, 1);
}

/// Whether overload is ever over in ten seconds of full steps of one row of four, while a third of what the other three
/// could do is refused.
fn is_ever_over(step: StepTaken, is_blocked: bool) -> bool {
    let mut gate = busy(4000);
    gate.finished(5, 5);
    let (mut now, mut is_over) = (Duration::ZERO, false);
    for number in 1..200 {
        let party = Party::of(b"other");
        let asked = Asked {
            party: &party,
            priority: Priority::Interactive,
            rows: 1,
            row_units: 5,
            tokens: 5.0,
            has_target: true,
            hurries: false,
        };
        if number % 5 == 1 {
            gate.exceed(&asked, now);
        }
        gate.starts(now);
        now += step.time;
        gate.step(&step);
        gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: Some(is_blocked) }, [4000].into_iter());
        is_over |= !gate.is_overloaded(now);
    }
    is_over
}

#[test]
fn overload_lasts_where_something_else_than_rows_is_short() {
    let work = Work { source_tokens: 64, target_tokens: 1 };
    let full = StepTaken { time: STEP, work, rows: 1, is_full: true, encodings_wait: false };
    assert!(is_ever_over(full, false), "three rows are free");
    assert!(!is_ever_over(full, true), "there are no pages");
    assert!(!is_ever_over(StepTaken { encodings_wait: true, ..full }, false), "the encoder has more to do");
    assert!(!is_ever_over(StepTaken { rows: 0, ..full }, false), "the encoder takes the whole step");
}

#[test]
fn answers_that_take_fewer_steps_than_tokens_begin_as_fast_as_they_end() {
    let mut gate = busy(4000);
    // Answers of 100 tokens in 5 steps, as forced, scored or drafted ones are.
    let rows = |gate: &mut Gate, count: u32| {
        gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: Some(false) }, (0..count).map(|_| 4000));
    };
    let step = StepTaken {
        time: STEP,
        work: Work { source_tokens: 0, target_tokens: 4 },
        rows: ROWS as usize,
        is_full: true,
        encodings_wait: false,
    };
    for _ in 0..50 {
        (0..5).for_each(|_| gate.step(&step));
        (0..ROWS).for_each(|_| gate.finished(100, 100));
        rows(&mut gate, 0);
        gate.begun(ROWS as usize);
    }
    rows(&mut gate, ROWS);
    assert!(ask(&mut gate, 1, 100, None).is_err());
    let mut begun = 0;
    for _ in 0..20 {
        let begin = gate.starts(Duration::ZERO).begin;
        gate.begun(begin);
        begun += begin;
        gate.step(&step);
        rows(&mut gate, ROWS);
    }
    assert!((16..=22).contains(&begun), "{begun}: four rows of five steps each end 16 times in 20 steps");
}

#[test]
fn after_a_flood_an_engine_without_work_has_no_limits() {
    let mut gate = busy(4000);
    end_a_row(&mut gate, 4000);
    assert!(ask(&mut gate, 1, 100, None).is_err());
    gate.starts(Duration::ZERO);
    gate.begun(100);
    assert!(gate.starts.steps_of(0) > 0.0);
    gate.rows(RowsTaken { rows: ROWS as usize, is_blocked: Some(false) }, std::iter::empty());
    let later = Duration::from_secs(10);
    let caller = Caller { call: CallId(2), ..Caller::default() };
    let work = Work { source_tokens: 0, target_tokens: 1 };
    let call = NewCall { caller, rows: 1, work, time_left: Some(STEP), ..NewCall::default() };
    assert!(gate.enter(call, later).is_ok(), "all rows are free");
}
