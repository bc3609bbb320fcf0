//! The engine thread over a fake model.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use server::engine::{Encoding, Generation};
use server::request::{
    Controls, EncodeRequest, EncodingEvent, FailureKind, GenerationEvent, GenerationRequest, PromptScores, Readout,
    Refusal, Salt, Shed,
};

use crate::answer::PATIENCE;
use crate::fake::{BROKEN, FakeEngine, Room, Turn, UNSCORED, events, join, request, whole};

/// Tells the child process of a test what it is.
const CHILD: &str = "ENCDEC_TEST_ENGINE_PANICS";
const SIGABRT: i32 = 6;

#[test]
fn a_request_learns_when_its_source_is_encoded_unless_it_was_before() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 8 });
    let (first, second) = (fake.submit(1, 2, 1), fake.submit(2, 2, 1));
    let (engine, _) = fake.run_free();
    let all = |mut generation: Generation| std::iter::from_fn(|| generation.blocking_next()).collect::<Vec<_>>();
    for events in [all(first), all(second)] {
        let ready = events.iter().filter(|event| **event == GenerationEvent::SourceReady).count();
        assert_eq!((&events[1], ready), (&GenerationEvent::SourceReady, 1), "after its start, before its tokens");
    }
    let slot = engine.handle.reserve(Salt::default(), 1).unwrap();
    let events = all(engine.handle.submit(slot, request(1, 2, 1)).unwrap());
    assert!(matches!(&events[..2], [GenerationEvent::Started { cached_tokens: 1.. }, GenerationEvent::Token { .. }]));
    engine.handle.drain();
    join(engine);
}

#[test]
fn a_step_that_cannot_be_run_fails_the_requests_in_it_and_no_others() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let (mut broken, mut waiting) = (fake.submit(1, 8, 1), fake.submit(2, 3, 1));
    for (decoded, turn) in [(vec![], Turn::Run), (vec![1], Turn::Run), (vec![1], Turn::Fail)] {
        assert_eq!(fake.next_step(), decoded);
        fake.turn(turn);
    }
    let (engine, metrics) = fake.run_free();
    let got = events(&mut broken);
    assert_eq!(got[..2], whole(8)[..2], "what came before the failure is not taken back");
    let [GenerationEvent::Failed { message, kind: FailureKind::Passing }] = &got[2..] else { panic!("{got:?}") };
    assert!(message.contains("on purpose"), "{message}");
    assert_eq!(events(&mut waiting), whole(3));
    let slot = engine.handle.reserve(Salt::default(), 1).unwrap();
    let mut next = engine.handle.submit(slot, request(3, 2, 1)).unwrap();
    assert_eq!(events(&mut next), whole(2));
    engine.handle.drain();
    join(engine);
    assert_eq!(metrics.pages_held.get(), 0);
}

#[test]
fn the_queue_learns_of_rows_that_cancellations_free_though_no_step_follows() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let (running, waiting) = (fake.submit(1, 60, 1), fake.submit(2, 60, 1));
    // The pace is known after some steps that leave one waiting.
    for _ in 0..20 {
        fake.next_step();
        fake.turn(Turn::Run);
    }
    fake.next_step();
    assert!(fake.metrics.overload.expected_wait_seconds.get() > 0.0, "the only row is taken");
    drop(waiting);
    drop(running);
    let (engine, metrics) = fake.run_free();
    let began = Instant::now();
    while metrics.overload.expected_wait_seconds.get() > 0.0 {
        assert!(began.elapsed() < PATIENCE, "the row is free");
        std::thread::sleep(Duration::from_millis(1));
    }
    engine.handle.drain();
    join(engine);
}

#[test]
fn a_request_whose_logits_are_no_numbers_fails_alone() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 8 });
    let (mut broken, mut other) = (fake.submit(BROKEN, 5, 3), fake.submit(7, 5, 1));
    let (engine, metrics) = fake.run_free();
    let got = events(&mut broken);
    assert_eq!(got[0], GenerationEvent::Started { cached_tokens: 0 });
    assert!(
        matches!(
            &got[1..],
            [GenerationEvent::Failed { message, kind: FailureKind::Lasting }] if message.contains("finite")
        ),
        "{got:?}"
    );
    assert_eq!(events(&mut other), whole(5));
    engine.handle.drain();
    join(engine);
    assert_eq!((metrics.pages_held.get(), metrics.running_rows.get()), (0, 0));
}

/// Its bans are not to blame as long as they leave ids.
#[test]
fn a_request_that_refuses_ids_and_whose_logits_are_no_numbers_is_told_so() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 8 });
    let failure = |banned: Vec<u32>, allowed: Vec<u32>| {
        let controls = Controls { banned, allowed: Some(allowed.into_iter().collect()), ..Controls::default() };
        let slot = fake.engine.handle.reserve(Salt::default(), 1).unwrap();
        let asked = GenerationRequest { controls: controls.in_order().into(), ..request(BROKEN, 5, 1) };
        fake.engine.handle.submit(slot, asked).unwrap()
    };
    let (mut broken, mut refused) = (failure(vec![3], vec![3, 4]), failure(vec![3, 4], vec![3, 4]));
    let (engine, _) = fake.run_free();
    let last = |generation: &mut Generation| events(generation).pop().unwrap();
    let GenerationEvent::Failed { message, kind: FailureKind::Lasting } = last(&mut broken) else { panic!() };
    assert_eq!(message, "the model gave no finite logits for this request");
    let GenerationEvent::Failed { message, kind: FailureKind::Refused } = last(&mut refused) else { panic!() };
    assert!(message.starts_with("no token could be chosen") && !message.contains("finite"), "{message}");
    engine.handle.drain();
    join(engine);
}

#[test]
fn a_target_whose_scores_are_no_numbers_fails_alone() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 8 });
    let scored = |decoder_prompt: Vec<u32>, max_tokens| {
        let slot = fake.engine.handle.reserve(Salt::default(), 1).unwrap();
        let asked = request(decoder_prompt[1].into(), max_tokens, 2);
        let asked = GenerationRequest {
            decoder_prompt,
            log_probs: Some(0),
            prompt_scores: Some(PromptScores::all(0)),
            ..asked
        };
        fake.engine.handle.submit(slot, asked).unwrap()
    };
    let (mut broken, mut sound) = (scored(vec![5, UNSCORED, 6], 4), scored(vec![5, 6], 0));
    let (engine, metrics) = fake.run_free();
    let got = events(&mut broken);
    let [before @ .., GenerationEvent::Failed { message, kind: FailureKind::Lasting }] = &got[..] else {
        panic!("{got:?}")
    };
    assert!(message.contains("no finite logits"), "{message}");
    assert!(before.iter().all(|event| !matches!(event, GenerationEvent::Token { .. })), "{before:?}");
    assert_eq!(events(&mut sound).len(), 1 + 2 * (2 + 1));
    engine.handle.drain();
    join(engine);
    assert_eq!((metrics.pages_held.get(), metrics.running_rows.get()), (0, 0));
}

#[test]
fn a_place_in_the_queue_is_free_again_when_its_request_starts() {
    let fake = FakeEngine::start(Room { queued_rows: 1, running_rows: 1 });
    let handle = fake.engine.handle.clone();
    let full = Some(Refusal::Shed(Shed::full(1)));
    let mut first = fake.submit(1, 4, 1);
    assert_eq!(handle.reserve(Salt::default(), 1).err(), full);
    fake.turn(Turn::Run);
    assert_eq!(first.blocking_next(), Some(GenerationEvent::Started { cached_tokens: 0 }));
    let mut second = fake.submit(2, 4, 1);
    assert_eq!(handle.reserve(Salt::default(), 1).err(), full);
    let (engine, _) = fake.run_free();
    assert_eq!(events(&mut second), whole(4));
    assert_eq!(handle.free_slots(), 1);
    drop(engine);
}

#[test]
fn draining_finishes_what_runs_and_what_waits_and_takes_nothing_new() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let mut all = [1, 2, 3].map(|seed| fake.submit(seed, 4, 1));
    assert!(fake.next_step().is_empty());
    fake.engine.handle.drain();
    assert_eq!(fake.engine.handle.reserve(Salt::default(), 1).err(), Some(Refusal::Draining));
    let (engine, metrics) = fake.run_free();
    assert!(all.iter_mut().all(|generation| events(generation) == whole(4)));
    join(engine);
    assert_eq!(metrics.pages_held.get(), 0);
}

#[test]
fn a_request_that_had_its_place_before_draining_is_still_answered() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let handle = fake.engine.handle.clone();
    let slots = [(); 2].map(|()| handle.reserve(Salt::default(), 1).unwrap());
    let (engine, _) = fake.run_free();
    handle.drain();
    for (slot, seed) in slots.into_iter().zip(1..) {
        // Tokenising takes its time; the engine has nothing to do meanwhile.
        std::thread::sleep(Duration::from_millis(30));
        let mut generation = handle.submit(slot, request(seed, 3, 1)).unwrap();
        assert_eq!(events(&mut generation), whole(3));
    }
    join(engine);
    assert_eq!(handle.reserve(Salt::default(), 1).err(), Some(Refusal::Draining));
}

#[test]
fn a_place_that_is_given_back_unused_does_not_hold_the_drain_up() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let slot = fake.engine.handle.reserve(Salt::default(), 3).unwrap();
    let (engine, _) = fake.run_free();
    engine.handle.drain();
    std::thread::sleep(Duration::from_millis(30));
    drop(slot);
    join(engine);
}

#[test]
fn a_cancelled_request_returns_its_pages_within_one_step() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 4 });
    let (cancelled, mut other) = (fake.submit(1, 30, 2), fake.submit(2, 6, 1));
    // Calls take turns, so the order depends on whether the first step knew both.
    while !matches!(fake.next_step()[..], [1, 1, 2] | [1, 2, 1]) {
        fake.turn(Turn::Run);
    }
    assert_eq!(fake.metrics.pages_held.get(), 5, "two sources and three targets, a page each");
    drop(cancelled);
    fake.turn(Turn::Run);
    assert_eq!(fake.next_step(), [2]);
    assert_eq!((fake.metrics.pages_held.get(), fake.metrics.pages_cached.get()), (2, 1));
    let _ = fake.run_free();
    assert_eq!(events(&mut other), whole(6));
}

#[test]
fn one_choice_is_cancelled_without_the_others() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 4 });
    let mut generation = fake.submit(1, 3, 3);
    while fake.next_step() != [1, 1, 1] {
        fake.turn(Turn::Run);
    }
    generation.cancel_choice(1);
    fake.turn(Turn::Run);
    assert_eq!(fake.next_step(), [1, 1]);
    let _ = fake.run_free();
    let got = events(&mut generation);
    let of = |wanted: u32| {
        got.iter().filter(|event| matches!(event, GenerationEvent::Token { choice, .. } if *choice == wanted)).count()
    };
    assert_eq!((of(0), of(2)), (3, 3));
    assert!(of(1) <= 1, "only the token that was under way");
}

#[test]
fn a_panic_in_the_engine_thread_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        tracing_subscriber::fmt().with_writer(server::process::log::start()).init();
        server::process::log::report_panics();
        let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 4 });
        let mut generation = fake.submit(1, 3, 1);
        fake.turn(Turn::Panic);
        while generation.blocking_next().is_some() {}
        // The stream may break a moment before the end. An engine that only lost its thread would let this process
        // go on and succeed.
        std::thread::sleep(PATIENCE);
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "engine::a_panic_in_the_engine_thread_ends_the_process", "--nocapture"]);
    let output = command.env(CHILD, "1").output().unwrap();
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("on purpose") && said.contains("the engine thread panicked"), "{said}");
    let unheard = command.stderr(std::fs::File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
    assert_eq!(unheard.status.signal(), Some(SIGABRT), "though it cannot say so: {unheard:?}");
}

/// All events of an encoder request.
fn encoded(mut encoding: Encoding) -> Vec<EncodingEvent> {
    std::iter::from_fn(|| encoding.blocking_next()).collect()
}

fn encode(fake: &FakeEngine, token: u32, tokens: usize) -> Encoding {
    let slot = fake.engine.handle.reserve(Salt::default(), 1).unwrap();
    let request = EncodeRequest { source: vec![token; tokens].into(), readout: Readout::LastToken };
    fake.engine.handle.encode(slot, request).unwrap()
}

#[test]
fn an_encoder_request_gives_its_place_back_when_it_enters_the_encoder_and_ends_with_its_result() {
    let fake = FakeEngine::start(Room { queued_rows: 2, running_rows: 1 });
    let handle = fake.engine.handle.clone();
    let (first, second) = (encode(&fake, 7, 64), encode(&fake, 9, 64));
    let overloaded = Err(Refusal::Shed(Shed::full(2)));
    assert_eq!(handle.reserve(Salt::default(), 1).map(|_| ()), overloaded);
    let (engine, metrics) = fake.run_free();
    let result = |number| vec![EncodingEvent::Started, EncodingEvent::Encoded { numbers: vec![number] }];
    assert_eq!((encoded(first), encoded(second)), (result(7.0), result(9.0)));
    engine.handle.drain();
    join(engine);
    assert_eq!((handle.free_slots(), metrics.waiting_encodings.get(), metrics.encoder_runs.get()), (0, 0, 2));
}

#[test]
fn a_step_that_cannot_be_run_fails_the_encoder_requests_in_it() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let (broken, sound) = (encode(&fake, 7, 64), encode(&fake, 9, 64));
    fake.next_step();
    fake.turn(Turn::Fail);
    let (engine, _) = fake.run_free();
    assert!(matches!(&encoded(broken)[..], [EncodingEvent::Failed { kind: FailureKind::Passing, .. }]));
    assert_eq!(encoded(sound).len(), 2);
    engine.handle.drain();
    join(engine);
}

#[test]
fn states_that_are_no_numbers_fail_their_request_alone() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let (broken, sound) = (encode(&fake, UNSCORED, 20), encode(&fake, 9, 20));
    let (engine, _) = fake.run_free();
    let events = encoded(broken);
    assert!(
        matches!(
            &events[1..],
            [EncodingEvent::Failed { message, kind: FailureKind::Lasting }] if message.contains("states")
        ),
        "{events:?}"
    );
    assert_eq!(encoded(sound)[1], EncodingEvent::Encoded { numbers: vec![9.0] });
    engine.handle.drain();
    join(engine);
}

#[test]
fn a_client_that_drops_its_encoder_request_makes_room_for_others() {
    let fake = FakeEngine::start(Room { queued_rows: 1, running_rows: 1 });
    let handle = fake.engine.handle.clone();
    let running = fake.submit(1, 30, 1);
    fake.next_step();
    fake.turn(Turn::Run);
    fake.next_step();
    let waits = encode(&fake, 7, 20);
    assert_eq!(handle.free_slots(), 0);
    drop(waits);
    let (engine, _) = fake.run_free();
    drop(running);
    engine.handle.drain();
    join(engine);
}

#[test]
fn what_a_model_lacks_is_refused_at_the_door() {
    let fake = FakeEngine::start(Room { queued_rows: 4, running_rows: 1 });
    let refusal = |tokens: usize, readout| {
        let slot = fake.engine.handle.reserve(Salt::default(), 1).unwrap();
        fake.engine.handle.encode(slot, EncodeRequest { source: vec![7; tokens].into(), readout }).err()
    };
    assert_eq!(refusal(3, Readout::Classes), Some(Refusal::NoClasses));
    assert_eq!(refusal(0, Readout::Mean), Some(Refusal::EmptySource));
    assert_eq!(refusal(65, Readout::Mean), Some(Refusal::SourceTooLong { tokens: 65, limit: 64 }));
    let (engine, _) = fake.run_free();
    engine.handle.drain();
    join(engine);
}
