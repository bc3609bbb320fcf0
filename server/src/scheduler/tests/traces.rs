//! Random traces: whatever comes, everybody gets what it would get alone, and the books balance.

use kernels::Sampling;
use proptest::prelude::*;

use super::world::{World, source};
use crate::request::{GenerationRequest, RequestId};
use crate::scheduler::{PoolSize, SchedulerLimits};

/// A client in a trace.
#[derive(Debug, Clone)]
struct Visit {
    /// Steps between the visit before and this one.
    pause: usize,
    asked: GenerationRequest,
    /// Steps until it is cancelled, whether in the middle of the step, and which choice.
    cancel: Option<(usize, bool, Option<u32>)>,
}

fn limits() -> impl Strategy<Value = SchedulerLimits> {
    let source_page_tokens = prop_oneof![Just(16usize), Just(32), Just(8)];
    let steps = (1usize..9, 0usize..20, 1usize..80, 1usize..6);
    (6usize..24, source_page_tokens, steps).prop_map(|(pages, source_page_tokens, (rows, more, tokens, layers))| {
        SchedulerLimits {
            pool: PoolSize { pages, source_page_tokens },
            running_rows: rows,
            call_rows: rows.div_ceil(2),
            step_rows: rows + more,
            step_encoder_tokens: tokens,
            encoder_layers: layers,
        }
    })
}

fn request() -> impl Strategy<Value = GenerationRequest> {
    let source = (3u32..8, 1usize..70).prop_map(|(name, tokens)| source(name, if name < 6 { 33 } else { tokens }));
    let prompt = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0u32..40, 1..30)];
    let lengths = (0u32..50, 0u32..6, any::<bool>());
    let scores = (prop::option::weighted(0.3, 0u32..4), any::<bool>());
    (source, prompt, 1u32..4, lengths, scores, any::<u64>()).prop_map(
        |(source, decoder_prompt, choices, (max_tokens, min_tokens, ignore_end), (log_probs, score_prompt), seed)| {
            GenerationRequest {
                decoder_prompt,
                choices,
                min_tokens: min_tokens.min(max_tokens),
                ignore_end,
                sampling: Sampling { seed, ..Sampling::GREEDY },
                log_probs,
                score_prompt,
                ..GenerationRequest::new(source, max_tokens)
            }
        },
    )
}

fn visit() -> impl Strategy<Value = Visit> {
    let cancel = (0usize..30, any::<bool>(), prop::option::of(0u32..3));
    (0usize..6, request(), prop::option::of(cancel)).prop_map(|(pause, asked, cancel)| Visit { pause, asked, cancel })
}

fn patient_visit() -> impl Strategy<Value = Visit> {
    visit().prop_map(|visit| Visit { cancel: None, ..visit })
}

fn fits(asked: &GenerationRequest, limits: &SchedulerLimits) -> bool {
    limits.pool.request_pages(asked.lengths()) <= limits.pool.pages
}

/// Cancellations that are due in this step.
type Cancellations = Vec<(usize, bool, RequestId, Option<u32>)>;

fn play(limits: SchedulerLimits, visits: &[Visit]) -> World {
    play_in(World::new(limits), visits)
}

fn play_in(mut world: World, visits: &[Visit]) -> World {
    let limits = world.limits;
    let mut cancellations: Cancellations = Vec::new();
    let mut submitted = 0;
    for visit in visits.iter().filter(|visit| fits(&visit.asked, &limits)) {
        submitted += visit.pause;
        while world.steps < submitted {
            step(&mut world, &mut cancellations);
        }
        let choices = visit.asked.choices;
        let id = world.submit(visit.asked.clone());
        if let Some((after, during, choice)) = visit.cancel {
            cancellations.push((world.steps + after, during, id, choice.filter(|&choice| choice < choices)));
        }
    }
    world.step_bound += submitted;
    while !world.scheduler.is_idle() {
        step(&mut world, &mut cancellations);
        assert!(world.steps <= world.step_bound, "not done after {} steps", world.steps);
    }
    world
}

fn step(world: &mut World, cancellations: &mut Cancellations) {
    let due: Cancellations = cancellations.extract_if(.., |cancellation| cancellation.0 <= world.steps).collect();
    for &(_, _, id, choice) in due.iter().filter(|due| !due.1) {
        world.cancel(id, choice);
    }
    let result = world.plan_and_run();
    for &(_, _, id, choice) in due.iter().filter(|due| due.1) {
        world.cancel(id, choice);
    }
    world.commit(&result);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_gets_what_it_would_get_alone(
        limits in limits(),
        visits in prop::collection::vec(patient_visit(), 1..25),
    ) {
        let world = play(limits, &visits);
        world.check_answers();
        prop_assert!(world.started.is_sorted_by(|a, b| world.is_trivial(*a) || world.is_trivial(*b) || a < b));
    }

    #[test]
    fn cancellations_at_any_step_disturb_nobody_else(
        limits in limits(),
        visits in prop::collection::vec(visit(), 1..25),
    ) {
        play(limits, &visits).check_answers();
    }

    #[test]
    fn plans_made_ahead_change_no_answer(
        limits in limits(),
        visits in prop::collection::vec(visit(), 1..25),
    ) {
        play_in(World::running_ahead(limits), &visits).check_answers();
    }

    #[test]
    fn with_room_for_all_each_distinct_source_is_encoded_once(
        limits in limits(),
        visits in prop::collection::vec(patient_visit(), 1..25),
    ) {
        let world = play(SchedulerLimits { pool: PoolSize { pages: 2000, ..limits.pool }, ..limits }, &visits);
        world.check_answers();
        let mut sources: Vec<_> = world.clients.iter().filter(|(id, _)| !world.is_trivial(**id)).collect();
        sources.sort_by_key(|(_, client)| client.asked.source.clone());
        sources.dedup_by_key(|(_, client)| client.asked.source.clone());
        prop_assert_eq!(world.scheduler.counters().encoder_runs, sources.len() as u64);
        prop_assert_eq!(world.scheduler.counters().preemptions, 0);
    }
}
