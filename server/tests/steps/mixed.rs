//! Beams, controls, masks and drafts in one batch: transformers' answers to every case of a pair, and for each
//! neighbour what it gets alone.

use std::sync::Arc;

use kernels::Sampling;
use server::request::{
    BeamSearch, Constrain, Constraint, ConstraintError, ConstraintState, EarlyStopping, GenerationRequest,
};

use crate::beams::{self, Kind, PAIRS, PairEngine, ROOMY, SCARCE, answer, by_ends};
use crate::controls;

/// Number of ids of both pairs.
const VOCABULARY: usize = 512;

/// A constraint: even and odd ids take turns, an end may come anywhere.
#[derive(Debug)]
pub struct Turns;

#[derive(Debug, Clone, Copy)]
struct Turn {
    is_odd: bool,
}

impl Constrain for Turns {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Turn { is_odd: true })
    }
}

impl ConstraintState for Turn {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(VOCABULARY / 32, if self.is_odd { 0xaaaa_aaaa } else { 0x5555_5555 });
        words[0] |= 0b10;
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        assert!(token == 1 || (token % 2 == 1) == self.is_odd, "{token} has no turn");
        self.is_odd = !self.is_odd;
        Ok(())
    }

    fn list_forced(&mut self, _: &mut Vec<u32>) {}
}

/// Requests with masks, with drafts, and plain ones, about the sources of the cases.
fn neighbours(cases: &[beams::Case]) -> Vec<GenerationRequest> {
    let sampling = Sampling { temperature: 0.9, top_k: 30, seed: 3, ..Sampling::GREEDY };
    let beams = BeamSearch { width: 3, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
    let of_source = |case: &beams::Case| {
        let asked =
            GenerationRequest { ignore_end: true, ..GenerationRequest::new(Arc::clone(&case.request.source), 24) };
        let constraint = Some(Constraint::new(Turns));
        [
            GenerationRequest { constraint: constraint.clone(), ..asked.clone() },
            GenerationRequest { constraint: constraint.clone(), sampling, choices: 2, ..asked.clone() },
            GenerationRequest { constraint, beams: Some(beams), choices: 2, ..asked.clone() },
            GenerationRequest { speculation: true, ..asked.clone() },
            GenerationRequest { speculation: true, sampling, ..asked.clone() },
            asked,
        ]
    };
    cases.iter().step_by(9).flat_map(of_source).collect()
}

#[test]
fn no_row_depends_on_neighbours_with_beams_masks_or_drafts() {
    for pair in PAIRS {
        for (cases, kind) in
            by_ends(pair).into_iter().flat_map(|cases| [(cases.clone(), Kind::Direct), (cases, Kind::Padded)])
        {
            let ends = &cases[0].ends;
            let neighbours = neighbours(&cases);
            let roomy = PairEngine::start(pair, kind, ROOMY, ends);
            let alone: Vec<_> = neighbours.iter().map(|one| answer(roomy.submit(one), one.choices)).collect();
            let undrafted = neighbours.iter().map(|one| GenerationRequest { speculation: false, ..one.clone() });
            let plain: Vec<_> = undrafted.map(|one| answer(roomy.submit(&one), one.choices)).collect();
            assert_eq!(alone, plain, "{pair}");
            // The controls' cases have one end token.
            let ruled = if ends.len() == 1 { controls::cases(pair) } else { Vec::new() };
            let scarce = PairEngine::start(pair, kind, SCARCE, ends);
            let running: Vec<_> = neighbours.iter().map(|one| scarce.submit(one)).collect();
            let searches: Vec<_> = cases.iter().map(|case| (case, scarce.submit(&case.request))).collect();
            let ruled: Vec<_> = ruled.iter().map(|case| (case, scarce.submit(&case.asked))).collect();
            for (case, generation) in searches {
                beams::check(pair, case, generation);
            }
            for (case, generation) in ruled {
                assert_eq!(answer(generation, 1)[0].0, case.expected, "{pair}: {}", case.options);
            }
            let together = running.into_iter().zip(&neighbours).map(|(one, asked)| answer(one, asked.choices));
            assert_eq!(together.collect::<Vec<_>>(), alone, "{pair}");
            assert!(scarce.metrics.preemptions.get() > 0, "pages are scarce");
        }
    }
}
