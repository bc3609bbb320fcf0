//! Beam searches among other sequences: rows, shared pages, copies, preemption and cancellation.

use super::alone::Answer;
use super::fake_model::END;
use super::stop_pair::stop_pair;
use super::world::{LIMITS, World, asks, source, with_pages};
use crate::request::{
    BeamSearch, Controls, EarlyStopping, FinishReason, GenerationRequest, PromptScores, Refusal, RequestId,
};
use crate::scheduler::tests::world::caller;
use crate::scheduler::{NoToken, SchedulerLimits};

const UNLIKELY: EarlyStopping = EarlyStopping::Unlikely;

/// A search of this width for as many choices, which end by length alone.
fn searches(source: &[u32], width: u32, max_tokens: u32) -> GenerationRequest {
    let beams = BeamSearch { width, length_penalty: 1.0, early_stopping: UNLIKELY };
    GenerationRequest { choices: width, beams: Some(beams), ..asks(source, max_tokens) }
}

#[test]
fn a_decoder_prompt_runs_in_one_branch_and_each_beam_then_takes_a_row() {
    let mut world = World::new(LIMITS);
    world.submit(GenerationRequest { decoder_prompt: vec![5, 6, 7], ..searches(&source(1, 20), 4, 6) });
    world.step();
    world.step();
    assert_eq!((world.plan.targets.len(), world.plan.best_asks().count()), (4, 1));
    for _ in 0..5 {
        world.step();
        assert_eq!((world.plan.targets.len(), world.plan.best_asks().count()), (4, 4));
    }
    world.check_answers();
}

#[test]
fn beams_share_whole_pages_and_copy_the_page_that_they_write() {
    let mut world = World::new(LIMITS);
    // Two whole pages of prompt and a part of a third.
    world.submit(GenerationRequest { decoder_prompt: (3..39).collect(), ..searches(&source(1, 4), 4, 12) });
    world.step();
    while world.scheduler.running.first().is_some_and(|running| running.branches.len() == 1) {
        assert!(world.plan.copies.is_empty());
        world.step();
    }
    assert_eq!(world.scheduler.counts().held, 1 + 3, "nothing is copied before it is written");
    world.step();
    assert_eq!(world.plan.copies.len(), 3, "the last of four owners keeps the page");
    let running = &world.scheduler.running[0];
    assert!(running.branches.iter().all(|branch| branch.pages[..2] == running.branches[0].pages[..2]));
    assert!(world.scheduler.counts().held <= 1 + 2 + 4);
    world.run();
    world.check_answers();
}

#[test]
fn pages_at_whose_edge_beams_part_are_not_copied() {
    let mut world = World::new(LIMITS);
    world.submit(GenerationRequest { decoder_prompt: (3..34).collect(), ..searches(&source(1, 4), 3, 2) });
    let mut copies = 0;
    while !world.scheduler.is_idle() {
        world.step();
        copies += world.plan.copies.len();
    }
    assert_eq!(copies, 0);
    world.check_answers();
}

#[test]
fn a_search_takes_as_many_rows_as_it_is_wide() {
    let mut world = World::new(SchedulerLimits { running_rows: 6, call_rows: 6, ..LIMITS });
    let first = world.submit(searches(&source(1, 4), 4, 8));
    let second = world.submit(searches(&source(2, 4), 3, 8));
    let third = world.submit(asks(&source(3, 4), 2));
    world.step();
    assert_eq!((world.scheduler.running_rows(), world.started.as_slice()), (4, &[first][..]));
    world.run();
    world.check_answers();
    assert_eq!(world.started, [first, second, third]);
}

#[test]
fn a_search_that_is_wider_than_the_rows_is_refused() {
    let mut world = World::new(LIMITS);
    let refusal = world.scheduler.submit(RequestId(1), &caller(1), searches(&source(1, 4), 9, 2));
    assert_eq!(refusal, Err(Refusal::TooWide { width: 9, limit: 8 }));
    assert!(world.scheduler.is_idle());
}

#[test]
fn a_search_that_is_wider_than_its_calls_share_runs_alone_in_it() {
    let mut world = World::new(SchedulerLimits { call_rows: 2, ..LIMITS });
    for name in [1, 2] {
        world.submit_as(&caller(7), searches(&source(name, 4), 3, 4));
    }
    world.step();
    assert_eq!(world.scheduler.running_rows(), 3);
    world.run();
    world.check_answers();
}

#[test]
fn a_preempted_search_keeps_its_branches_and_shares_again_what_they_have_in_common() {
    let mut world = World::new(SchedulerLimits { running_rows: 10, step_rows: 10, ..with_pages(16) });
    let oldest = GenerationRequest { decoder_prompt: (3..103).map(|id| id % 40).collect(), ..asks(&source(1, 4), 120) };
    world.submit(oldest);
    world.submit(GenerationRequest { decoder_prompt: (3..39).collect(), ..searches(&source(2, 4), 3, 40) });
    let (mut preempted, mut parted_again) = (false, false);
    while !world.scheduler.is_idle() {
        world.step();
        preempted |= world.scheduler.queue.waiting.iter().any(|waiting| waiting.sequence.branches() > 1);
        let search = world.scheduler.running.iter().find(|running| running.is_search());
        parted_again |= preempted
            && search.is_some_and(|running| {
                let [first, second, ..] = running.branches.as_slice() else { return false };
                first.pages[0] == second.pages[0]
            });
    }
    assert!(preempted && parted_again);
    world.check_answers();
}

#[test]
fn a_cancelled_choice_is_silent_and_the_others_get_what_they_would_have_got() {
    for begun in [0, 1, 4] {
        let mut world = World::new(LIMITS);
        let id = world.submit(searches(&source(1, 4), 3, 9));
        for _ in 0..begun {
            world.step();
        }
        world.cancel(id, Some(1));
        world.run();
        world.check_answers();
    }
}

#[test]
fn a_search_ends_with_its_last_choice_and_returns_its_pages() {
    let mut world = World::new(LIMITS);
    let id = world.submit(searches(&source(1, 4), 3, 30));
    for _ in 0..5 {
        world.step();
    }
    for choice in [2, 0, 2, 1] {
        assert_eq!(world.scheduler.running_rows(), 3);
        world.cancel(id, Some(choice));
    }
    assert!(world.scheduler.is_idle());
    assert_eq!(world.scheduler.counts().held, 0);
}

#[test]
fn a_branch_without_candidates_ends_its_request_and_no_other() {
    let mut world = World::new(LIMITS);
    let bad = world.submit(searches(&source(1, 4), 3, 9));
    world.submit(searches(&source(2, 4), 2, 9));
    for _ in 0..3 {
        world.step();
    }
    let mut result = world.plan_and_run();
    assert_eq!(result.best.len(), 5);
    result.best[1].clear();
    world.commit(&result);
    assert_eq!(world.scheduler.running_rows(), 2);
    world.run();
    assert_eq!(world.clients.get_mut(&bad).unwrap().failure.take(), Some(NoToken::NotFinite));
    world.check_answers();
}

#[test]
fn a_search_without_candidates_ends_with_the_hypotheses_that_it_has() {
    let end = END[0];
    let controls = Controls {
        allowed: Some([5, end].into_iter().collect()),
        bad_words: vec![vec![5, 5], vec![5, end]],
        ..Controls::default()
    };
    let mut world = World::new(LIMITS);
    let id = world.submit(GenerationRequest { ignore_end: false, controls: controls.into(), ..searches(&[7], 2, 9) });
    world.run();
    let answer = world.answer(id);
    assert_eq!((&answer.tokens[..], answer.finish), (&[end][..], Some(FinishReason::Stop)));
}

#[test]
fn a_choice_that_forced_ids_leave_without_a_hypothesis_is_told_no_tokens() {
    let controls = Controls { forced_first: Some(3), forced_last: vec![0], ..Controls::default() };
    let mut world = World::new(LIMITS);
    let id = world.submit(GenerationRequest { controls: controls.into(), ..searches(&[6], 2, 2) });
    world.run();
    world.check_answers();
    let told: Vec<_> = world.answers(id).iter().map(|answer| answer.tokens.clone()).collect();
    assert_eq!(told, [vec![3, 0], vec![]]);
}

#[test]
fn the_tokens_on_which_all_agree_are_sent_before_the_search_is_over() {
    let mut early = 0;
    for name in 1..30 {
        let mut world = World::new(LIMITS);
        let id = world.submit(searches(&source(name, 4), 2, 20));
        while !world.scheduler.is_idle() {
            world.step();
            let client = &world.clients[&id];
            let is_over = client.answers[0].finish.is_some();
            early += usize::from(!is_over && !client.answers[0].tokens.is_empty());
            assert!(is_over || client.answers[0].tokens == client.answers[1].tokens);
        }
        world.check_answers();
    }
    assert!(early > 20, "in {early} steps");
}

#[test]
fn log_probabilities_come_with_their_tokens_whenever_these_are_told() {
    for name in 1..20 {
        let mut world = World::new(LIMITS);
        let asked = GenerationRequest {
            log_probs: Some(2),
            prompt_scores: Some(PromptScores::all(2)),
            ..searches(&source(name, 4), 3, 12)
        };
        world.submit(GenerationRequest { decoder_prompt: vec![7, 8, 9], ..asked.clone() });
        world.submit(GenerationRequest { max_tokens: 0, decoder_prompt: vec![7, 8], ..asked });
        world.run();
        let scored = world.clients.values().next().unwrap().answers[2].clone();
        assert_eq!(scored.scores.len(), 3 + scored.tokens.len());
        let rated = world.clients.values().nth(1).unwrap();
        assert!(rated.answers.iter().all(|answer| answer.scores.len() == 2 && answer.finish.is_some()));
        world.check_answers();
    }
}

#[test]
fn a_branch_that_completes_a_stop_string_is_a_hypothesis() {
    let mut stopped = 0;
    for name in 1..30 {
        let asked = searches(&source(name, 4), 4, 12);
        let mut free = World::new(LIMITS);
        let id = free.submit(asked.clone());
        free.run();
        let pair = [free.answer(id).tokens[2], free.answer(id).tokens[3]];
        let mut world = World::new(LIMITS);
        let id = world.submit(GenerationRequest { stop: Some(stop_pair(pair)), ..asked });
        world.run();
        world.check_answers();
        let ends_with_pair = |answer: &Answer| answer.tokens.ends_with(&pair);
        stopped += world.answers(id).iter().filter(|&answer| ends_with_pair(answer)).count();
    }
    assert!(stopped > 3, "{stopped} hypotheses");
}

#[test]
fn no_plan_is_made_ahead_of_a_search() {
    let mut world = World::running_ahead(LIMITS);
    world.submit(searches(&source(1, 4), 3, 9));
    world.submit(asks(&source(2, 4), 9));
    world.run();
    world.check_answers();
    // Only the first plan, which encodes, lets another be made before its commit.
    assert_eq!(world.ahead, 1);
}
