//! Overload in virtual time: open loops that never wait for an answer, against an engine whose steps have known costs.

mod gate_alone;
mod simulated_engine;

use std::time::Duration;

use simulated_engine::{Load, Machine, SimulatedEngine};

use crate::request::ShedReason;

/// A machine on which a row costs little.
const ROWS_ARE_CHEAP: Machine = Machine {
    rows: 64,
    step: Duration::from_millis(5),
    row: Duration::from_micros(250),
    source_token: Duration::from_micros(120),
    power: 1.0,
    jitter: 0.0,
};
/// Two cores that the load generator shares, with the s-s shape in int8, as they were measured (docs/reliability.md): a
/// step of 64 rows takes 2.5 times as long as one of 20, and 22.6 requests like [`LOAD`] are answered in a second.
const MEASURED: Machine = Machine {
    rows: 64,
    step: Duration::from_millis(5),
    row: Duration::from_micros(538),
    source_token: Duration::from_micros(380),
    power: 1.0,
    jitter: 0.0,
};
/// Two other cores, on which the first rows cost more than the last ones and steps take now more, now less time.
const UNEVEN: Machine = Machine {
    rows: 64,
    step: Duration::from_millis(4),
    row: Duration::from_micros(5200),
    source_token: Duration::from_micros(140),
    power: 0.79,
    jitter: 0.3,
};
const FEW_ROWS: Machine = Machine { rows: 4, ..ROWS_ARE_CHEAP };
/// The contract is that of ten minutes.
const LONG: Duration = Duration::from_secs(600);
/// Time after which the engine knows its pace and has shortened its queue.
const BEGINNING: Duration = Duration::from_secs(2);
/// Requests of 64 source tokens and 32 target tokens.
const LOAD: Load = Load { client: "a", rate: 0.0, source: 64, most: 32, mean: 32, timeout: None };

/// An engine after this time of these loads, when all that was on its way is answered; only what arrived after
/// `beginning` counts.
fn after(machine: Machine, loads: &[Load], beginning: Duration, time: Duration) -> SimulatedEngine {
    let mut engine = SimulatedEngine::new(machine, 7);
    engine.run(loads, beginning);
    engine.begin_to_count();
    engine.run(loads, time);
    engine.finish();
    for fate in engine.fates.values() {
        assert_eq!(fate.arrived, fate.answered.len() + fate.shed.len(), "no request is lost");
    }
    engine
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Holds an engine under ten times as many requests as it can answer to what it gives under 0.9 times as many, and
/// returns how many times as long its answers take.
fn hold_to_the_contract(machine: Machine, load: Load, beginning: Duration, time: Duration) -> f64 {
    let capacity = SimulatedEngine::capacity(machine, load);
    let busy = after(machine, &[Load { rate: 0.9 * capacity, ..load }], beginning, time);
    let flooded = after(machine, &[Load { rate: 10.0 * capacity, ..load }], beginning, time);
    assert!(busy.fates["a"].shed.is_empty(), "a busy server sheds nothing");
    let goodput = flooded.goodput("a") / capacity;
    let ratio = seconds(flooded.fates["a"].p99()) / seconds(busy.fates["a"].p99());
    println!("{load:?}: {capacity:.1} a second; goodput {goodput:.3}, p99 {ratio:.2} times as long");
    assert!(goodput >= 0.9, "{load:?}: {goodput}");
    assert!(ratio <= 1.5, "{load:?}: {ratio}");
    assert!(flooded.longest_queue <= 1024, "{}", flooded.longest_queue);
    ratio
}

#[test]
fn at_ten_times_capacity_goodput_and_latency_are_those_of_a_busy_server() {
    hold_to_the_contract(ROWS_ARE_CHEAP, LOAD, Duration::ZERO, LONG);
}

#[test]
fn so_it_is_where_many_rows_make_answers_slow_for_little_goodput() {
    let twenty = MEASURED.step + MEASURED.row * 20;
    let ratio = seconds(MEASURED.step + MEASURED.row * 64) / seconds(twenty);
    assert!((2.4..2.6).contains(&ratio), "{ratio}");
    let ratio = hold_to_the_contract(MEASURED, LOAD, Duration::ZERO, LONG);
    assert!(ratio <= 1.0, "{ratio}: fewer rows run than on a busy server at times");
}

#[test]
fn so_it_is_where_steps_take_now_more_now_less_time_and_the_first_rows_cost_most() {
    hold_to_the_contract(UNEVEN, LOAD, Duration::ZERO, LONG);
}

#[test]
fn so_it_is_with_long_short_and_uneven_answers() {
    let long = Load { source: 256, most: 64, mean: 64, ..LOAD };
    let short = Load { source: 64, most: 4, mean: 4, ..LOAD };
    let uneven = Load { most: 96, mean: 24, ..LOAD };
    for (machine, minutes) in [(ROWS_ARE_CHEAP, 1), (MEASURED, 1), (UNEVEN, 5)] {
        for load in [long, short, uneven] {
            hold_to_the_contract(machine, load, BEGINNING, Duration::from_secs(60 * minutes));
        }
    }
}

#[test]
fn a_flood_of_one_client_delays_another_little_and_costs_it_no_answer() {
    let capacity = SimulatedEngine::capacity(ROWS_ARE_CHEAP, LOAD);
    let small = Load { client: "small", rate: 0.2 * capacity, ..LOAD };
    let busy =
        after(ROWS_ARE_CHEAP, &[small, Load { rate: 0.7 * capacity, ..LOAD }], BEGINNING, Duration::from_secs(60));
    let flooded =
        after(ROWS_ARE_CHEAP, &[small, Load { rate: 10.0 * capacity, ..LOAD }], BEGINNING, Duration::from_secs(60));
    let fate = &flooded.fates["small"];
    assert!(fate.shed.len() * 50 <= fate.arrived, "{} of {}", fate.shed.len(), fate.arrived);
    let ratio = seconds(fate.p99()) / seconds(busy.fates["small"].p99());
    assert!(ratio <= 1.5, "{ratio}");
    assert!(flooded.goodput("a") >= 0.7 * capacity, "the rest of the engine is the flood's");
}

#[test]
fn two_floods_have_equal_shares_of_the_work_whatever_each_of_their_requests_costs() {
    let dear = Load { client: "dear", rate: 200.0, most: 96, mean: 96, source: 192, ..LOAD };
    let cheap = Load { client: "cheap", rate: 600.0, ..LOAD };
    let engine = after(ROWS_ARE_CHEAP, &[dear, cheap], BEGINNING, Duration::from_secs(60));
    let ratio = engine.goodput("cheap") / engine.goodput("dear");
    assert!((2.4..3.6).contains(&ratio), "{ratio}: a dear one costs as much as three cheap ones");
}

#[test]
fn under_a_flood_requests_with_a_deadline_are_answered_in_time_or_shed_before_they_begin() {
    let capacity = SimulatedEngine::capacity(ROWS_ARE_CHEAP, LOAD);
    let service = seconds(
        after(ROWS_ARE_CHEAP, &[Load { rate: 0.9 * capacity, ..LOAD }], BEGINNING, Duration::from_secs(60)).fates["a"]
            .p99(),
    );
    let timeout = Some(Duration::from_secs_f64(1.3 * service));
    let engine =
        after(ROWS_ARE_CHEAP, &[Load { rate: 10.0 * capacity, timeout, ..LOAD }], BEGINNING, Duration::from_secs(60));
    let fate = &engine.fates["a"];
    let in_time = fate.answered.iter().filter(|time| Some(**time) <= timeout).count();
    assert!(in_time * 100 >= fate.answered.len() * 98, "{in_time} of {}", fate.answered.len());
    assert!(in_time as f64 / seconds(engine.now - engine.start) >= 0.9 * capacity, "{in_time}");
}

#[test]
fn what_cannot_be_in_time_is_not_begun() {
    let hopeless = Load { client: "hopeless", rate: 50.0, timeout: Some(Duration::from_millis(100)), ..LOAD };
    let engine = after(ROWS_ARE_CHEAP, &[hopeless, Load { rate: 600.0, ..LOAD }], BEGINNING, Duration::from_secs(60));
    let fate = &engine.fates["hopeless"];
    assert!(fate.answered.len() * 50 <= fate.arrived, "{} of {}", fate.answered.len(), fate.arrived);
    let late = fate.shed.iter().filter(|shed| matches!(shed.reason, ShedReason::Deadline { .. })).count();
    assert!(late * 10 >= fate.shed.len() * 9, "{late} of {}", fate.shed.len());
}

#[test]
fn a_burst_that_is_done_in_time_is_answered_whole_before_and_after_a_flood() {
    let mut engine = SimulatedEngine::new(ROWS_ARE_CHEAP, 3);
    for flood in [0.0, 1000.0] {
        if flood > 0.0 {
            engine.run(&[Load { rate: flood, ..LOAD }], Duration::from_secs(20));
            engine.finish();
            engine.now += Duration::from_secs(2);
        }
        let answered = engine.fates.get("burst").map_or(0, |fate| fate.answered.len());
        engine.burst(Load { client: "burst", ..LOAD }, 200);
        engine.finish();
        assert_eq!(engine.fates["burst"].answered.len() - answered, 200, "after a flood of {flood}");
    }
}

#[test]
fn clients_that_are_turned_away_are_told_to_come_back_one_after_the_other_at_the_pace_of_the_engine() {
    let mut engine = SimulatedEngine::new(ROWS_ARE_CHEAP, 5);
    let capacity = SimulatedEngine::capacity(ROWS_ARE_CHEAP, LOAD);
    engine.run(&[Load { rate: 10.0 * capacity, ..LOAD }], Duration::from_secs(10));
    let before = engine.fates["a"].shed.len();
    engine.run(&[Load { rate: 0.1, ..LOAD }], Duration::from_secs(60));
    engine.burst(Load { client: "late", ..LOAD }, 1200);
    let late = &engine.fates["late"];
    assert!(before > 1000 && late.shed.len() >= 100, "{before} {}", late.shed.len());
    let times: Vec<f64> = late.shed.iter().map(|shed| seconds(shed.retry_after)).collect();
    assert!(times.is_sorted() && times[0] >= 1.0, "{times:?}");
    let pace = (times.len() - 1) as f64 / (times[times.len() - 1] - times[0]);
    assert!((0.7..1.4).contains(&(pace / capacity)), "{pace} {capacity}");
}

#[test]
fn with_few_rows_overload_ends_when_less_is_asked_for_than_can_be_done() {
    let quick = Machine {
        rows: 4,
        step: Duration::from_millis(1),
        row: Duration::from_micros(50),
        source_token: Duration::from_micros(24),
        power: 1.0,
        jitter: 0.0,
    };
    for load in [Load { most: 96, mean: 24, ..LOAD }, Load { most: 4, mean: 4, ..LOAD }] {
        let capacity = SimulatedEngine::capacity(quick, load);
        let mut engine = SimulatedEngine::new(quick, 7);
        engine.run(&[Load { rate: 10.0 * capacity, ..load }], Duration::from_secs(20));
        engine.begin_to_count();
        engine.run(&[Load { rate: 0.8 * capacity, ..load }], Duration::from_secs(120));
        engine.finish();
        let fate = &engine.fates["a"];
        assert!(fate.shed.len() * 50 <= fate.arrived, "{load:?}: {} of {}", fate.shed.len(), fate.arrived);
    }
}

#[test]
fn with_few_rows_goodput_and_latency_in_a_flood_are_those_of_a_busy_server() {
    hold_to_the_contract(FEW_ROWS, LOAD, BEGINNING, LONG);
}

#[test]
fn twice_as_many_clients_as_rows_that_ask_one_by_one_are_all_answered_at_capacity() {
    for machine in [ROWS_ARE_CHEAP, MEASURED, FEW_ROWS] {
        let capacity = SimulatedEngine::capacity(machine, LOAD);
        let mut engine = SimulatedEngine::new(machine, 7);
        engine.run_clients(&LOAD, 2 * machine.rows, Duration::from_secs(300));
        engine.finish();
        let fate = &engine.fates["a"];
        assert!(fate.shed.is_empty(), "{machine:?}: {}", fate.shed.len());
        assert_eq!(fate.arrived, fate.answered.len());
        assert!(engine.goodput("a") >= 0.95 * capacity, "{machine:?}: {} of {capacity}", engine.goodput("a"));
    }
}

#[test]
fn clients_that_come_back_when_they_are_told_keep_a_flooded_engine_at_capacity() {
    for machine in [ROWS_ARE_CHEAP, MEASURED] {
        let capacity = SimulatedEngine::capacity(machine, LOAD);
        let mut engine = SimulatedEngine::new(machine, 7);
        engine.run_clients(&LOAD, 1280, Duration::from_secs(60));
        engine.begin_to_count();
        engine.run_clients(&LOAD, 1280, Duration::from_secs(300));
        assert!(engine.goodput("a") >= 0.9 * capacity, "{machine:?}: {} of {capacity}", engine.goodput("a"));
    }
}
