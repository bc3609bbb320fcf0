//! A decode step allocates nothing, on any thread. The only test of its process: it counts what the allocator is
//! asked for.
#![allow(clippy::unwrap_used)]
// A global allocator is an unsafe trait by definition; this one hands every call on and counts it.
#![allow(unsafe_code)]

mod fixture;
mod runner;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use fixture::DemoRow;
use kernels::cpu::{Cpu, Isa};
use kernels::{
    Draw, DrawRule, DrawRules, Draws, KvFormat, LogitEdit, Precision, RuleId, Sampling, SamplingOps, Scheme, TokenMask,
};
use model::{Arithmetic, Checkpoint};
use runner::{Runner, StepRows};

/// Calls that asked for memory, from all threads.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged, whose promises are thereby this one's; the counter
// allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller promises the same of `layout` as `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `pointer` came from the system's allocator, by way of this one.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from the system's allocator, and the caller promises that it was with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Target positions of the steps: past the first page.
const POSITIONS: usize = 18;

/// Every way to choose, in turn over the rows of a step.
const SAMPLINGS: [Sampling; 5] = [
    Sampling::GREEDY,
    Sampling { temperature: 1.0, top_k: 40, top_p: 0.9, min_p: 0.0, seed: 1 },
    Sampling { temperature: 1.5, top_k: 0, top_p: 0.95, min_p: 0.0, seed: 2 },
    Sampling { temperature: 0.7, top_k: 0, top_p: 1.0, min_p: 0.05, seed: 3 },
    Sampling { temperature: 1.2, top_k: 300, top_p: 1.0, min_p: 0.0, seed: 4 },
];

/// One draw for each row and way to choose, so that every row meets all of them; under a rule at every other position.
fn draws(batch: usize, position: usize, rule: RuleId) -> Vec<Draw> {
    let draw = |(index, row): (usize, u32)| Draw {
        row,
        sampling: SAMPLINGS[index],
        choice: row,
        position: position as u32,
        rule: position.is_multiple_of(2).then_some(rule),
    };
    (0..SAMPLINGS.len()).flat_map(|index| (0..batch as u32).map(move |row| (index, row))).map(draw).collect()
}

/// Most passes over the steps. The test harness's own thread may allocate once in a while, but a step that allocates
/// does so in every pass: the least count is that of the steps.
const PASSES: usize = 3;

/// Allocations in the steps at positions 0, 1, ..., after one step of the same sizes (at the last position).
fn allocations(runner: &mut Runner<Cpu>, batch: usize) -> usize {
    let rows = DemoRow::all();
    let sources: Vec<&[u32]> = rows[..batch].iter().map(|row| &row.input_ids[..25]).collect();
    let (_, mut sequences) = runner.encode(&sources, usize::MAX);
    let (mut rules, words) =
        (DrawRules::default(), vec![0xffff_0fff; runner.model.config().decoder.vocab.div_ceil(32)]);
    let edits = [LogitEdit::bias(5, 1.0), LogitEdit::penalty(70, 1.1)];
    let rule = rules.add(DrawRule { mask: Some(TokenMask { words: &words }), edits: &edits, banned: &[1] });
    let steps: Vec<(StepRows, Vec<Draw>)> = (0..POSITIONS)
        .map(|position| {
            for (index, sequence) in sequences.iter_mut().enumerate() {
                sequence.tokens.resize(position + 1, 10 + (7 * index + position) as u32);
            }
            (runner.rows(&sequences, |sequence| sequence.tokens.len() - 1), draws(batch, position, rule))
        })
        .collect();
    // Those that depend on few logits come first: they are drawn a second time by screening.
    let narrow = steps[0].1.iter().take_while(|draw| draw.sampling.is_narrow()).count();
    assert_eq!(narrow, 2 * batch);
    let mut ids = Vec::with_capacity(2 * batch * SAMPLINGS.len());
    let mut drawn = runner.model.drawn(2 * batch * SAMPLINGS.len()).unwrap();
    let mut step = |(rows, draws): &(StepRows, Vec<Draw>)| {
        ids.clear();
        runner.run(rows);
        runner.model.sample(Draws { list: draws, rules: &rules }, &runner.space, &mut drawn);
        let (narrow, _) = draws.split_at(narrow);
        runner.model.choose(Draws { list: narrow, rules: &rules }, &mut runner.space, &mut drawn);
        runner.model.backend().take(&mut drawn, &mut ids);
        assert_eq!(ids.len(), draws.len() + narrow.len());
        assert_eq!(ids[..narrow.len()], ids[draws.len()..]);
    };
    step(&steps[POSITIONS - 1]);
    let mut pass = || {
        let before = REQUESTS.load(Ordering::SeqCst);
        steps.iter().for_each(&mut step);
        REQUESTS.load(Ordering::SeqCst) - before
    };
    let mut least = pass();
    for _ in 1..PASSES {
        if least == 0 {
            break;
        }
        least = least.min(pass());
    }
    least
}

#[test]
fn a_decode_step_allocates_nothing_on_any_thread() {
    let counted = REQUESTS.load(Ordering::SeqCst);
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert!(REQUESTS.load(Ordering::SeqCst) > counted, "the counter counts");
    let checkpoint = Checkpoint::embedded().unwrap();
    for isa in Isa::all() {
        let quantized =
            |scheme| Arithmetic { quantize: Some(scheme), cross_kv: KvFormat::Int8, ..Precision::Bf16.into() };
        let plain = [Precision::F32, Precision::Bf16].map(Arithmetic::from);
        for arithmetic in plain.into_iter().chain([Scheme::Int8, Scheme::Int4].map(quantized)) {
            let mut runner = Runner::new(Cpu::new(isa, 2), &checkpoint, arithmetic, 16);
            for batch in [1, 16] {
                let count = allocations(&mut runner, batch);
                assert_eq!(count, 0, "{}, {arithmetic}, batch of {batch}", isa.level().name());
            }
        }
    }
}
