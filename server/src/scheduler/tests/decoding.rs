//! Rows, scores and ends of sequences.

use kernels::DrawRule;

use super::fake_model::END;
use super::world::{LIMITS, World, asks, caller, finished, source, with_pages};
use crate::request::{FinishReason, GenerationRequest, PromptScores, Refusal, RequestId};
use crate::scheduler::sequence::{Lines, Sequence};
use crate::scheduler::{Event, Found, SchedulerLimits};

#[test]
fn sequences_that_owe_one_row_go_before_a_long_prompt() {
    let mut world = World::new(SchedulerLimits { step_rows: 10, ..LIMITS });
    let streams: Vec<_> = (1..=3).map(|name| world.submit(asks(&source(name, 4), 30))).collect();
    world.step();
    let asked = GenerationRequest { decoder_prompt: (3..30).collect(), ..asks(&source(9, 4), 2) };
    world.submit(asked);
    world.step();
    assert_eq!(world.plan.targets.len(), 3);
    // 28 rows are owed and 7 are left in every step.
    for rows in [10, 10, 10, 10, 4] {
        world.step();
        assert_eq!(world.plan.targets.len(), rows);
    }
    assert!(streams.iter().all(|&id| world.answer(id).tokens.len() == 6));
    world.run();
    world.check_answers();
}

#[test]
fn the_older_of_two_long_prompts_goes_first() {
    let mut world = World::new(LIMITS);
    for name in [1, 2] {
        let asked = GenerationRequest { decoder_prompt: (3..23).collect(), ..asks(&source(name, 4), 2) };
        world.submit(asked);
    }
    world.step();
    world.step();
    assert_eq!(world.plan.targets.positions, (0..16).collect::<Vec<_>>());
    world.step();
    assert_eq!(world.plan.targets.positions, (16..21).chain(0..11).collect::<Vec<_>>());
    world.run();
    world.check_answers();
}

#[test]
fn draws_name_their_choice_position_and_whether_the_text_may_end() {
    let mut world = World::new(LIMITS);
    let asked = GenerationRequest { decoder_prompt: vec![5, 6], min_tokens: 2, choices: 2, ..asks(&source(1, 4), 4) };
    world.submit(asked);
    world.step();
    let (mut draws, no_end) = (Vec::new(), DrawRule::ban(&END));
    for _ in 0..3 {
        world.step();
        let plan = &world.plan;
        draws.extend(plan.draws().map(|draw| (draw.choice, draw.position, plan.rules.of(draw.rule) == no_end)));
    }
    assert_eq!(draws, [(0, 3, true), (1, 3, true), (0, 4, true), (1, 4, true), (0, 5, false), (1, 5, false)]);
}

/// Runs one request that draws these tokens. Returns why and after how many tokens it finished.
fn ending(max_tokens: u32, ignore_end: bool, tokens: &[u32]) -> (FinishReason, usize) {
    let mut world = World::new(LIMITS);
    let asked = GenerationRequest { ignore_end, ..asks(&source(1, 4), max_tokens) };
    world.scheduler.submit(RequestId(1), &caller(1), asked).unwrap();
    let mut events = Vec::new();
    world.scheduler.plan(&mut world.plan);
    world.scheduler.commit(Found { chosen: &[], best: &[], plan: &world.plan, late: &[] }, &mut events);
    for (index, &token) in tokens.iter().enumerate() {
        world.scheduler.plan(&mut world.plan);
        events.clear();
        world.scheduler.commit(Found { chosen: &[Some(token)], best: &[], plan: &world.plan, late: &[] }, &mut events);
        if let [(_, reason)] = finished(&events)[..] {
            assert!(world.scheduler.is_idle());
            return (reason, index + 1);
        }
    }
    panic!("not finished");
}

#[test]
fn any_end_token_ends_a_text_and_wins_over_its_length() {
    assert_eq!(ending(5, false, &[7, 1]), (FinishReason::Stop, 2));
    assert_eq!(ending(5, false, &[7, 8, 2]), (FinishReason::Stop, 3));
    assert_eq!(ending(2, false, &[7, 2]), (FinishReason::Stop, 2));
    assert_eq!(ending(2, false, &[7, 7]), (FinishReason::Length, 2));
    assert_eq!(ending(3, true, &[1, 2, 1]), (FinishReason::Length, 3));
}

#[test]
fn a_scored_prompt_yields_each_score_once_and_then_tokens() {
    let mut world = World::new(SchedulerLimits { step_rows: 8, ..LIMITS });
    let asked = GenerationRequest {
        decoder_prompt: (3..20).collect(),
        log_probs: Some(5),
        prompt_scores: Some(PromptScores::all(3)),
        ..asks(&source(1, 4), 3)
    };
    world.submit(asked);
    world.run();
    world.check_answers();
}

#[test]
fn no_generated_tokens_and_scores_run_the_prompt_but_its_last_position() {
    let mut world = World::new(LIMITS);
    let asked = GenerationRequest {
        decoder_prompt: vec![5, 6, 7],
        prompt_scores: Some(PromptScores::all(0)),
        ..asks(&source(1, 4), 0)
    };
    let id = world.submit(asked);
    world.step();
    let events = world.step();
    assert_eq!(world.plan.targets.positions, [0, 1, 2]);
    assert_eq!(world.plan.draws().count(), 0);
    assert_eq!(finished(&events), [(id, FinishReason::Length)]);
    world.check_answers();
}

#[test]
fn nothing_to_generate_and_nothing_to_score_runs_nothing() {
    let mut world = World::new(LIMITS);
    let unscored = GenerationRequest { decoder_prompt: vec![5, 6, 7], choices: 2, ..asks(&source(1, 4), 0) };
    let unscored = world.submit(unscored);
    let without_prompt = GenerationRequest { prompt_scores: Some(PromptScores::all(1)), ..asks(&source(1, 4), 0) };
    let without_prompt = world.submit(without_prompt);
    assert!(!world.scheduler.is_idle());
    let events = world.step();
    assert!(world.plan.is_empty());
    let length = FinishReason::Length;
    assert_eq!(finished(&events), [(unscored, length), (unscored, length), (without_prompt, length)]);
    assert_eq!(events[0], Event::Started { request: unscored, cached_tokens: 0 });
    world.check_answers();
    assert_eq!(world.scheduler.counters().encoder_runs, 0);
}

#[test]
fn pages_are_taken_as_positions_need_them_and_none_for_the_last_token() {
    let mut world = World::new(LIMITS);
    world.submit(asks(&source(1, 4), 32));
    world.step();
    let mut held = Vec::new();
    while !world.scheduler.is_idle() {
        world.step();
        held.push(world.scheduler.counts().held);
    }
    let expected: Vec<usize> = [[2; 16], [3; 16]].concat();
    assert_eq!(held[..31], expected[..31]);
    assert_eq!((held.len(), held[31]), (32, 0));
}

#[test]
fn rows_share_the_page_tables_of_their_sequence_and_source() {
    let mut world = World::new(LIMITS);
    let asked = GenerationRequest { choices: 3, decoder_prompt: vec![5, 6], ..asks(&source(1, 40), 4) };
    world.submit(asked);
    world.step();
    world.step();
    assert_eq!(world.plan.targets.len(), 9);
    assert_eq!(world.plan.targets.tables.pages(), 3 + 3);
}

#[test]
fn requests_start_in_order_of_arrival() {
    let mut world = World::new(SchedulerLimits { running_rows: 2, ..with_pages(12) });
    // The third would fit beside the first; the second, which does not, holds its place.
    let ids = [(1, 100), (2, 160), (3, 4), (4, 4)].map(|(name, tokens)| world.submit(asks(&source(name, tokens), 9)));
    world.run();
    world.check_answers();
    assert_eq!(world.started, ids);
}

#[test]
fn a_request_that_could_never_fit_is_refused_and_one_that_just_fits_finishes() {
    let mut world = World::new(with_pages(5));
    let refusal = world.scheduler.submit(RequestId(9), &caller(9), asks(&source(1, 48), 33));
    assert_eq!(refusal, Err(Refusal::NeverFits { needed: 6, pages: 5 }));
    assert!(world.scheduler.is_idle());
    world.submit(asks(&source(1, 48), 32));
    world.run();
    world.check_answers();
}

/// Room for the tokens of a choice.
fn generated_room(sequence: &Sequence) -> usize {
    match &sequence.lines {
        Lines::Choice(generated) => generated.capacity(),
        Lines::Beams(_) => panic!("no choice"),
    }
}

#[test]
fn a_step_of_steady_decoding_allocates_nothing_in_the_plan() {
    let mut world = World::new(LIMITS);
    let asked = GenerationRequest { choices: 8, ..asks(&source(1, 40), 60) };
    world.submit(asked);
    for _ in 0..50 {
        world.step();
    }
    let room = |world: &World| {
        let (targets, outputs) = (&world.plan.targets, &world.plan.outputs);
        let words = [&targets.tokens, &targets.places, &targets.positions].map(Vec::capacity);
        let tables = targets.tables.capacities();
        let structs = [targets.self_spans.capacity(), targets.cross_spans.capacity(), outputs.capacity()];
        let sequences =
            world.scheduler.running.iter().map(|r| (r.branches[0].pages.capacity(), generated_room(&r.sequence)));
        (words, tables, structs, world.plan.rules.capacities(), sequences.collect::<Vec<_>>())
    };
    let before = room(&world);
    for _ in 0..8 {
        world.step();
    }
    assert_eq!(room(&world), before);
}
