//! Constraints: masks, tokens without a choice, and searches among targets.

use super::fake_model::{END, VOCABULARY, score_alone};
use super::rhythm::Rhythm;
use super::world::{LIMITS, World, asks, source};
use crate::request::{
    BeamSearch, Constrain, Constraint, ConstraintError, ConstraintState, EarlyStopping, FinishReason, GenerationRequest,
};

/// A few targets, each of which an end token follows.
#[derive(Debug, Clone)]
struct OneOf(Vec<Vec<u32>>);

#[derive(Debug, Clone)]
struct Begun {
    targets: Vec<Vec<u32>>,
    tokens: Vec<u32>,
}

impl Constrain for OneOf {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Begun { targets: self.0.clone(), tokens: Vec::new() })
    }
}

impl ConstraintState for Begun {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(VOCABULARY.div_ceil(32) as usize, 0);
        for target in self.targets.iter().filter(|target| target.starts_with(&self.tokens)) {
            let next = target.get(self.tokens.len()).copied().unwrap_or(END[0]);
            words[next as usize / 32] |= 1 << (next % 32);
        }
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.tokens.push(token);
        Ok(())
    }

    fn list_forced(&mut self, _: &mut Vec<u32>) {}
}

fn in_rhythm(rhythm: Rhythm, max_tokens: u32) -> GenerationRequest {
    GenerationRequest { constraint: Some(rhythm.constraint()), ignore_end: false, ..asks(&source(1, 20), max_tokens) }
}

#[test]
fn tokens_without_a_choice_run_together_and_are_told_at_once() {
    let mut world = World::new(LIMITS);
    let id = world.submit(in_rhythm(Rhythm { bar: 1, bars: 9 }, 30));
    world.run();
    world.check_answers();
    // The encoder runs, then all rows of the nine tokens at once, the last of which draws the end.
    let rows = world.plan.targets.len();
    let answer = world.answer(id);
    assert_eq!((answer.tokens.len(), answer.finish), (10, Some(FinishReason::Stop)));
    assert_eq!(rows, 10, "start token and nine forced ones");
}

#[test]
fn tokens_whose_log_probabilities_are_wanted_are_drawn_one_by_one() {
    let mut world = World::new(LIMITS);
    let id = world.submit(GenerationRequest { log_probs: Some(1), ..in_rhythm(Rhythm { bar: 1, bars: 3 }, 30) });
    world.run();
    world.check_answers();
    assert_eq!((world.answer(id).scores.len(), world.plan.targets.len()), (4, 1));
}

#[test]
fn the_end_is_not_held_back_where_nothing_else_is_left() {
    let mut world = World::new(LIMITS);
    let id = world.submit(GenerationRequest { min_tokens: 20, ..in_rhythm(Rhythm { bar: 2, bars: 3 }, 30) });
    world.run();
    world.check_answers();
    assert_eq!((world.answer(id).tokens.len(), world.answer(id).finish), (7, Some(FinishReason::Stop)));
}

#[test]
fn no_plan_is_made_ahead_of_a_token_that_a_mask_follows() {
    let mut world = World::running_ahead(LIMITS);
    world.submit(in_rhythm(Rhythm { bar: 4, bars: 5 }, 30));
    world.run();
    world.check_answers();
}

/// The search is as wide as there are beginnings, so no branch is dropped and the best targets by their sums are found.
#[test]
fn a_search_among_targets_that_drops_none_finds_the_best_of_them() {
    let targets: Vec<Vec<u32>> = [&[3, 4, 5][..], &[3, 4], &[3, 9, 9, 9], &[7], &[7, 7, 7], &[8, 3], &[30, 31, 32, 33]]
        .map(<[u32]>::to_vec)
        .into();
    for name in 0..20 {
        let mut world = World::new(LIMITS);
        let beams = BeamSearch { width: 8, length_penalty: 0.0, early_stopping: EarlyStopping::Impossible };
        let constraint = Some(Constraint::new(OneOf(targets.clone())));
        let asked = GenerationRequest { choices: 4, beams: Some(beams), constraint, ..asks(&source(name, 12), 10) };
        let asked = GenerationRequest { ignore_end: false, ..asked };
        let id = world.submit(asked.clone());
        while !world.scheduler.is_idle() {
            world.step();
        }
        let mut all: Vec<(f32, Vec<u32>)> = targets
            .iter()
            .map(|target| {
                let tokens = [target.as_slice(), &END[..1]].concat();
                (score_alone(&asked, &tokens), tokens)
            })
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let found: Vec<Vec<u32>> = world.answers(id).iter().map(|answer| answer.tokens.clone()).collect();
        let best: Vec<Vec<u32>> = all.into_iter().take(4).map(|(_, tokens)| tokens).collect();
        assert_eq!(found, best);
    }
}
