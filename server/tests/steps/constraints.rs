//! Constraints over the demo that take their time: no answer depends on it.

use std::time::{Duration, Instant};

use kernels::cpu::{Cpu, Isa};
use kernels::{Precision, Sampling};
use server::engine::{Executor, MaskLimits, ModelExecutor};
use server::request::{BeamSearch, Constrain, Constraint, ConstraintError, ConstraintState, EarlyStopping};
use server::request::{GenerationEvent, GenerationRequest};

use crate::demo_engine::{DemoEngine, LIMITS, PAGES, load, requests, step_executor};

/// Allows ids of one remainder each, in turn; every third token is the only one that is allowed.
#[derive(Debug, Clone, Copy)]
struct Turns {
    tokens: u32,
    /// Time for a mask.
    pause: Duration,
}

const IDS: u32 = 4096;

impl Constrain for Turns {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }
}

impl ConstraintState for Turns {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        std::thread::sleep(self.pause);
        words.clear();
        words.resize(IDS as usize / 32, 0);
        (100..IDS).filter(|&id| self.allows(id)).for_each(|id| words[id as usize / 32] |= 1 << (id % 32));
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        let error = ConstraintError { reason: format!("{token} is not of turn {}", self.tokens) };
        if !self.allows(token) {
            return Err(error);
        }
        self.tokens += 1;
        Ok(())
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        out.extend((self.tokens % 3 == 2).then_some(300 + self.tokens));
    }
}

impl Turns {
    fn allows(self, id: u32) -> bool {
        if self.tokens % 3 == 2 { id == 300 + self.tokens } else { id % 5 == self.tokens % 5 }
    }
}

/// Requests of several kinds, some of them under a constraint whose masks take so long.
fn asked(pause: Duration) -> Vec<GenerationRequest> {
    let constraint = || Some(Constraint::new(Turns { tokens: 0, pause }));
    let [plain, two, open, long, scored, sampled] = requests(14).try_into().unwrap();
    let beams = BeamSearch { width: 3, length_penalty: 1.0, early_stopping: EarlyStopping::Impossible };
    let sampling = Sampling { temperature: 2.0, seed: 9, ..Sampling::GREEDY };
    vec![
        GenerationRequest { constraint: constraint(), ..plain.clone() },
        GenerationRequest { constraint: constraint(), sampling, ..two },
        open,
        GenerationRequest { constraint: constraint(), ..long },
        GenerationRequest { constraint: constraint(), ..scored },
        GenerationRequest { constraint: constraint(), beams: Some(beams), choices: 2, ..plain },
        sampled,
    ]
}

fn executors() -> [Box<dyn Executor>; 2] {
    let cpu = || Cpu::new(Isa::detect(), 2);
    let direct = ModelExecutor::new(load(cpu(), Precision::F32), PAGES, LIMITS).unwrap();
    [Box::new(direct), Box::new(step_executor(cpu(), Precision::F32))]
}

#[test]
fn slow_masks_change_no_token_and_hold_up_nobody_else() {
    let masks = |wait| MaskLimits { threads: 2, wait, time: Duration::from_secs(60), queue: Duration::from_secs(60) };
    let [direct, _] = executors();
    let expected = DemoEngine::with_masks(direct, masks(Duration::from_secs(60))).together(&asked(Duration::ZERO));
    assert!(expected.iter().flatten().all(|tokens| !tokens.is_empty()));
    for executor in executors() {
        let engine = DemoEngine::with_masks(executor, masks(Duration::ZERO));
        assert_eq!(engine.together(&asked(Duration::from_millis(25))), expected);
        assert!(engine.late_masks() > 0);
    }
}

#[test]
fn a_mask_that_takes_too_long_ends_its_request_and_no_other() {
    for executor in executors() {
        let time = Duration::from_millis(100);
        let masks = MaskLimits { threads: 2, wait: Duration::ZERO, time, ..MaskLimits::default() };
        let engine = DemoEngine::with_masks(executor, masks);
        let [slow, .., plain] = <[_; 7]>::try_from(asked(Duration::from_secs(2))).unwrap();
        let (mut slow, began) = (engine.submit(&slow), Instant::now());
        let tokens = engine.together(&[plain]);
        assert!(!tokens[0][0].is_empty());
        let failed = std::iter::from_fn(|| slow.blocking_next()).find_map(|event| match event {
            GenerationEvent::Failed { message, .. } => Some(message),
            _ => None,
        });
        assert!(failed.unwrap().contains("limits.mask_time_ms"));
        assert!(began.elapsed() < Duration::from_millis(1900), "nobody waits for its thread");
    }
}
