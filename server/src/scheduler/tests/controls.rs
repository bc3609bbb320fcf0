//! Controls: rules against the textbook form, and what the scheduler makes of them.

use std::sync::Arc;

use kernels::{DrawRule, DrawRules};
use proptest::prelude::*;

use super::fake_model::{END, START, VOCABULARY};
use super::plain_controls;
use super::world::{LIMITS, World, asks, source};
use crate::request::{Controls, FinishReason, GenerationRequest, RequestId, Salt, TokenBias};
use crate::scheduler::BoundaryTokens;
use crate::scheduler::history::History;
use crate::scheduler::rules::RuleWriter;
use crate::scheduler::sequence::Request;
use crate::scheduler::source_cache::SourceCache;

/// A request to the fake model as the scheduler keeps it.
fn request(asked: GenerationRequest) -> Request {
    let tokens = BoundaryTokens { start: START, end: END.to_vec(), vocabulary: VOCABULARY };
    let source = SourceCache::default().key(&asked.source, &Salt::default());
    Request::new(RequestId(1), source, &tokens, asked)
}

/// Few ids, so that n-grams and words come again.
const IDS: u32 = 6;

prop_compose! {
    fn controls()(
        penalties in (prop_oneof![Just(1.0f32), 0.5f32..2.0], prop_oneof![Just(0.0f32), -2.0f32..2.0]),
        frequency_penalty in prop_oneof![Just(0.0f32), -2.0f32..2.0],
        no_repeat_ngram in 0u32..5,
        biases in prop::collection::vec((0..VOCABULARY, -9.0f32..9.0), 0..4),
        allowed in prop::option::weighted(0.3, prop::collection::vec(0..VOCABULARY, 1..40)),
        bans in (prop::collection::vec(0..VOCABULARY, 0..4), prop::collection::vec(0..VOCABULARY, 0..3)),
        bad_words in prop::collection::vec(prop::collection::vec(0..IDS, 1..4), 0..6),
        forced in (prop::option::weighted(0.2, 0..VOCABULARY), prop::collection::vec(0..VOCABULARY, 0..2)),
        stop_tokens in prop::collection::vec(0..VOCABULARY, 0..3),
    ) -> Controls {
        let mut biases: Vec<TokenBias> = biases.into_iter().map(|(id, bias)| TokenBias { id, bias }).collect();
        biases.sort_by_key(|bias| bias.id);
        biases.dedup_by_key(|bias| bias.id);
        let ((repetition_penalty, presence_penalty), (forced_first, forced_last)) = (penalties, forced);
        let (banned, banned_first) = bans;
        let allowed = allowed.map(|ids| ids.into_iter().collect());
        Controls {
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            no_repeat_ngram,
            biases,
            allowed,
            banned,
            banned_first,
            bad_words,
            forced_first,
            forced_last,
            stop_tokens,
        }.in_order()
    }
}

/// Checks that a rule makes of any logits what the textbook form makes of them.
fn check(asked: &GenerationRequest, generated: &[u32], rule: DrawRule<'_>) -> Result<(), TestCaseError> {
    let logits: Vec<f32> = (0..VOCABULARY).map(|id| ((id * 37 % 23) as f32 - 11.0) / 3.0).collect();
    let (mut ruled, mut plain) = (logits.clone(), logits);
    rule.apply(&mut ruled);
    plain_controls::apply(asked, generated, &mut plain);
    for (id, (ruled, plain)) in ruled.iter().zip(&plain).enumerate() {
        let is_equal = ruled == plain || (ruled - plain).abs() < 1e-5;
        prop_assert!(is_equal, "id {} after {:?}: {} instead of {}", id, generated, ruled, plain);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_do_what_the_textbook_form_does(
        controls in controls(),
        decoder_prompt in prop::collection::vec(0..IDS, 0..8),
        tokens in prop::collection::vec(0..IDS, 30),
        min_tokens in 0u32..5,
        ignore_end in any::<bool>(),
    ) {
        let asked = GenerationRequest {
            controls: Arc::new(controls), decoder_prompt, min_tokens, ignore_end, ..GenerationRequest::new([3], 31)
        };
        let request = request(asked.clone());
        let (mut writer, mut history, mut fork) = (RuleWriter::default(), History::default(), History::default());
        for length in 0..=tokens.len() {
            let mut rules = DrawRules::new();
            writer.begin();
            let rule = writer.after(&request, &tokens[..length], &mut history, &mut rules);
            check(&asked, &tokens[..length], rules.of(rule))?;
            if length == 10 {
                fork = history.clone();
            }
        }
        // Another line goes on from where the first one was then.
        let other: Vec<u32> = tokens[..10].iter().chain(tokens[..7].iter().rev()).copied().collect();
        for length in 10..=other.len() {
            let mut rules = DrawRules::new();
            writer.begin();
            let rule = writer.after(&request, &other[..length], &mut fork, &mut rules);
            check(&asked, &other[..length], rules.of(rule))?;
        }
    }
}

fn ruled(asked: GenerationRequest, controls: Controls) -> GenerationRequest {
    GenerationRequest { controls: Arc::new(controls.in_order()), ..asked }
}

#[test]
fn plans_are_made_ahead_of_tokens_that_no_rule_follows() {
    let free = Controls::default;
    let bias = TokenBias { id: 7, bias: 3.0 };
    let fixed = [
        Controls { biases: vec![bias], ..free() },
        Controls { allowed: Some((0..20).collect()), banned: vec![4, 5], ..free() },
        Controls { forced_first: Some(9), forced_last: vec![8], stop_tokens: vec![6], ..free() },
    ];
    let following = [
        Controls { repetition_penalty: 1.3, ..free() },
        Controls { frequency_penalty: 0.4, ..free() },
        Controls { no_repeat_ngram: 2, ..free() },
        Controls { bad_words: vec![vec![4, 5]], ..free() },
    ];
    let ahead = |controls: Controls| {
        let mut world = World::running_ahead(LIMITS);
        world.submit(ruled(asks(&source(1, 20), 12), controls));
        world.run();
        world.check_answers();
        world.ahead
    };
    // With the first token the second is drawn; a plan that draws the first may follow the encoder.
    assert!(fixed.into_iter().all(|controls| ahead(controls) >= 2));
    assert!(following.into_iter().all(|controls| ahead(controls) == 1));
}

#[test]
fn stop_tokens_end_a_choice_even_where_end_tokens_do_not() {
    let mut world = World::new(LIMITS);
    let every = Controls { stop_tokens: (3..VOCABULARY).collect(), ..Controls::default() };
    let late = GenerationRequest { min_tokens: 2, ..asks(&source(1, 5), 40) };
    let ids = [world.submit(ruled(asks(&source(1, 5), 40), every.clone())), world.submit(ruled(late, every))];
    world.run();
    world.check_answers();
    let answers = ids.map(|id| world.answer(id));
    assert!(answers.iter().all(|answer| answer.finish == Some(FinishReason::Stop)));
    assert!(answers[0].tokens.len() < answers[1].tokens.len());
    assert!(answers[1].tokens[..2].iter().all(|&token| token == START), "no other id is left");
}

#[test]
fn a_request_whose_controls_leave_no_token_fails_alone() {
    let mut world = World::new(LIMITS);
    let none = Controls { allowed: Some([5, 6].into_iter().collect()), banned: vec![5, 6], ..Controls::default() };
    let (bad, good) = (world.submit(ruled(asks(&source(1, 5), 9), none)), world.submit(asks(&source(2, 5), 9)));
    world.run();
    world.check_answers();
    assert!(world.clients[&bad].cancelled[0] && world.answer(bad).tokens.is_empty());
    assert_eq!(world.answer(good).tokens.len(), 9);
}

#[test]
fn choices_of_a_request_share_a_rule_that_no_token_changes() {
    let mut world = World::new(LIMITS);
    let controls = Controls { allowed: Some((0..30).collect()), ..Controls::default() };
    world.submit(GenerationRequest { choices: 4, ..ruled(asks(&source(1, 5), 9), controls) });
    for _ in 0..4 {
        world.step();
    }
    let rules: Vec<_> = world.plan.draws().map(|draw| draw.rule.unwrap().index()).collect();
    assert_eq!(rules, [0; 4]);
}
