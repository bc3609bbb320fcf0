//! Beam searches under constraints, against a walk through all texts and against transformers' loop with masks.

use proptest::prelude::*;

use super::alone::score_alone;
use super::automaton::{Automaton, IDS};
use super::fake_model::END;
use super::world::{LIMITS, World, asks, source};
use crate::request::{BeamSearch, EarlyStopping, GenerationRequest};
use crate::scheduler::beams::tests::early_stopping;
use crate::scheduler::{PoolSize, SchedulerLimits};

/// Most branches of a search that drops none.
const WIDEST: usize = 60;

/// All texts that an automaton allows.
struct Walk<'a> {
    asked: &'a GenerationRequest,
    length_penalty: f64,
    /// Texts with their scores.
    texts: Vec<(Vec<u32>, f32)>,
    /// Number of beginnings of each length that may go on, or ended there.
    beginnings: Vec<usize>,
}

impl Walk<'_> {
    /// Adds all texts that go on from here.
    fn go_on(&mut self, tokens: &[u32]) {
        let mut state = self.asked.constraint.as_ref().unwrap().start();
        tokens.iter().for_each(|&token| state.advance(token).unwrap());
        let mut words = Vec::new();
        state.write_allowed(&mut words).unwrap();
        let allowed: Vec<u32> = (0..IDS).filter(|id| words[0] >> id & 1 == 1).collect();
        let is_early = tokens.len() < self.asked.min_tokens as usize;
        let goes_on = allowed.iter().any(|id| !END.contains(id));
        for id in allowed.into_iter().filter(|id| !(is_early && goes_on && END.contains(id))) {
            let longer = [tokens, &[id]].concat();
            self.beginnings[tokens.len()] += 1;
            if END.contains(&id) || longer.len() == self.asked.max_tokens as usize {
                let score = score_alone(self.asked, &longer) / (longer.len() as f64).powf(self.length_penalty) as f32;
                self.texts.push((longer, score));
            } else {
                self.go_on(&longer);
            }
        }
    }
}

prop_compose! {
    /// An automaton that leaves few ids in most states, and none in some.
    fn automaton()(states in prop::collection::vec((any::<u8>(), any::<u8>()), 1..6)) -> Automaton {
        Automaton { states: states.into_iter().map(|(some, others)| some & others).collect() }
    }
}

fn constrained(automaton: Automaton, name: u32, max_tokens: u32) -> GenerationRequest {
    let constraint = Some(automaton.constraint());
    GenerationRequest { constraint, ignore_end: false, ..asks(&source(name, 12), max_tokens) }
}

fn wide() -> World {
    let pool = PoolSize { pages: 400, ..LIMITS.pool };
    World::new(SchedulerLimits { pool, running_rows: WIDEST, call_rows: WIDEST, step_rows: WIDEST, ..LIMITS })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_search_that_drops_no_branch_finds_the_best_of_all_texts_that_a_constraint_allows(
        automaton in automaton(),
        name in 3u32..40,
        max_tokens in 1u32..6,
        min_tokens in 0u32..4,
        length_penalty in prop_oneof![Just(0.0), Just(1.0), Just(0.6), Just(2.0), Just(-1.0)],
    ) {
        let asked = constrained(automaton, name, max_tokens);
        let asked = GenerationRequest { min_tokens: min_tokens.min(max_tokens), ..asked };
        let beginnings = vec![0; max_tokens as usize];
        let mut walk = Walk { asked: &asked, length_penalty, texts: Vec::new(), beginnings };
        walk.go_on(&[]);
        let Walk { mut texts, beginnings, .. } = walk;
        texts.sort_by(|a, b| b.1.total_cmp(&a.1));
        // None is dropped before the last step, and after it the best of one length are those of the best sums.
        let width = beginnings[..max_tokens as usize - 1].iter().copied().max().unwrap_or(1).max(2);
        prop_assume!(width <= WIDEST);
        let choices = width.min(6) as u32;
        let beams = BeamSearch { width: width as u32, length_penalty, early_stopping: EarlyStopping::Impossible };
        let mut world = wide();
        let id = world.submit(GenerationRequest { beams: Some(beams), choices, ..asked.clone() });
        world.run();
        world.check_answers();
        if texts.is_empty() {
            prop_assert!(world.clients[&id].failure.is_some());
            return Ok(());
        }
        for (choice, answer) in world.answers(id).iter().enumerate() {
            let rating = answer.rating.unwrap();
            let Some((tokens, score)) = texts.get(choice) else {
                prop_assert_eq!((answer.tokens.len(), rating.score), (0, f32::NEG_INFINITY));
                continue;
            };
            prop_assert!((rating.score - score).abs() < 1e-5, "{:?} instead of {:?}", answer, (tokens, score));
            prop_assert!(texts.iter().any(|text| text.0 == answer.tokens));
        }
    }

    /// The world compares each answer with that of transformers' loop.
    #[test]
    fn narrow_searches_give_the_hypotheses_of_transformers_loop_with_masks(
        automata in prop::collection::vec((automaton(), 3u32..40, 1u32..7, 0u32..4), 1..6),
        max_tokens in 1u32..12,
        length_penalty in prop_oneof![Just(0.0), Just(1.0), Just(2.0), Just(-0.5)],
        early_stopping in early_stopping(),
    ) {
        let mut world = wide();
        for (automaton, name, width, min_tokens) in automata {
            let beams = Some(BeamSearch { width, length_penalty, early_stopping });
            let asked = constrained(automaton, name, max_tokens);
            let min_tokens = min_tokens.min(max_tokens);
            world.submit(GenerationRequest { beams, choices: width, min_tokens, ..asked });
        }
        world.run();
        world.check_answers();
    }
}
