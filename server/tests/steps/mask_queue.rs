//! Moves that wait for a thread: their limit, and those that nobody needs any more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use server::engine::{Executor, Generation, MaskLimits, ModelExecutor};
use server::request::{Constrain, Constraint, ConstraintError, ConstraintState};
use server::request::{FailureKind, GenerationEvent, GenerationRequest};

use crate::demo_engine::{DemoEngine, LIMITS, PAGES, load};

const LONG: Duration = Duration::from_secs(60);
const IDS: u32 = 4096;
/// Tokens of each answer.
const TOKENS: u32 = 2;

/// A gate that threads wait at until it is opened.
#[derive(Debug, Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
    }
}

/// Allows all but the first ids, behind a gate.
#[derive(Debug, Clone)]
struct Gated {
    gate: Arc<Gate>,
    /// Answers that a thread began with.
    begun: Arc<AtomicUsize>,
}

impl Constrain for Gated {
    fn start(&self) -> Box<dyn ConstraintState> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.gate.pass();
        self.fork()
    }
}

impl ConstraintState for Gated {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(IDS as usize / 32, u32::MAX);
        words[..4].fill(0);
        Ok(())
    }

    fn advance(&mut self, _: u32) -> Result<(), ConstraintError> {
        Ok(())
    }

    fn list_forced(&mut self, _: &mut Vec<u32>) {}
}

impl Gated {
    fn new() -> Self {
        Self { gate: Arc::default(), begun: Arc::default() }
    }

    fn open() -> Self {
        let gated = Self::new();
        gated.gate.open();
        gated
    }

    fn request(&self, choices: u32) -> GenerationRequest {
        GenerationRequest { constraint: Some(Constraint::new(self.clone())), choices, ..plain() }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }
}

fn plain() -> GenerationRequest {
    GenerationRequest { ignore_end: true, ..GenerationRequest::new(vec![100, 200, 300], TOKENS) }
}

/// An engine with one thread for masks, which waits for a thread as long as it is told.
fn engine(queue: Duration) -> DemoEngine {
    let masks = MaskLimits { threads: 1, wait: Duration::ZERO, time: LONG, queue };
    let model = load(Cpu::new(Isa::detect(), 2), Precision::F32);
    let executor: Box<dyn Executor> = Box::new(ModelExecutor::new(model, PAGES, LIMITS).unwrap());
    DemoEngine::with_masks(executor, masks)
}

fn failure(mut generation: Generation) -> Option<(String, FailureKind)> {
    std::iter::from_fn(|| generation.blocking_next()).find_map(|event| match event {
        GenerationEvent::Failed { message, kind } => Some((message, kind)),
        _ => None,
    })
}

#[test]
fn threads_do_not_begin_with_what_nobody_needs_any_more() {
    let engine = engine(LONG);
    let (blocked, gone) = (Gated::new(), Gated::open());
    let held = engine.submit(&blocked.request(1));
    let mut leaves = engine.submit(&gone.request(3));
    assert!(matches!(leaves.blocking_next(), Some(GenerationEvent::Started { .. })));
    // Its moves are queued when steps run, and it is over when others do.
    engine.together(&[plain()]);
    drop(leaves);
    engine.together(&[plain()]);
    blocked.gate.open();
    assert_eq!(failure(held), None);
    let next = Gated::open();
    engine.together(&[next.request(1)]);
    assert_eq!((blocked.begun(), gone.begun(), next.begun()), (1, 0, 1));
    // A mask for each token, the one after the last among them or not.
    assert!((2..=6).contains(&engine.masks()), "{}", engine.masks());
}

#[test]
fn a_move_that_no_thread_begins_in_time_ends_its_request_as_an_overload() {
    let engine = engine(Duration::from_millis(50));
    let (blocked, waits) = (Gated::new(), Gated::open());
    let held = engine.submit(&blocked.request(1));
    let failed = failure(engine.submit(&waits.request(2)));
    let (message, kind) = failed.expect("it waits too long");
    assert!(message.contains("limits.mask_queue_ms"), "{message}");
    assert_eq!(kind, FailureKind::Overloaded);
    engine.together(&[plain()]);
    blocked.gate.open();
    assert_eq!(failure(held), None, "what a thread has begun with may take its time");
    assert_eq!(waits.begun(), 0);
    engine.together(&[waits.request(2)]);
    assert_eq!(waits.begun(), 2);
}
