//! Random traces: every client gets what it would get alone, and no page is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernels::Sampling;
use model::EncoderCost;
use proptest::prelude::*;

use super::automaton::Automaton;
use super::fake_model::{BROKEN, VOCABULARY};
use super::faults::Fault;
use super::one_of::OneOf;
use super::priority::idle_caller;
use super::rhythm::Rhythm;
use super::stop_pair::stop_pair;
use super::windows::pieces;
use super::world::{World, caller, source};
use crate::request::{
    BeamSearch, Constraint, Controls, EncodeRequest, GenerationRequest, Priority, PromptScores, Readout, RequestId,
    TokenBias,
};
use crate::scheduler::beams::tests::early_stopping;
use crate::scheduler::{PoolSize, SchedulerLimits};

/// A client in a trace.
#[derive(Debug, Clone)]
struct Visit {
    /// Number of steps since the previous visit.
    pause: usize,
    asked: Asked,
    is_idle: bool,
    cancellation: Option<Cancellation>,
}

/// The request of a client.
#[derive(Debug, Clone)]
enum Asked {
    Generation(GenerationRequest),
    /// An encoder request of the call of this number, which may have others.
    Encoding(u64, EncodeRequest),
}

/// A client that goes away.
#[derive(Debug, Clone)]
struct Cancellation {
    /// Number of steps between its request and that.
    after: usize,
    /// Whether it goes away while the step runs.
    during_step: bool,
    /// The choice; all of them when absent.
    choice: Option<u32>,
}

prop_compose! {
    /// Encoders, of which some divide their layers for long sources.
    fn encoders()(
        wide_layers in 0usize..4,
        narrow_layers in 0usize..4,
        narrow_keys in 1usize..30,
        keys_as_products in prop_oneof![Just(0usize), 10usize..60],
    ) -> EncoderCost {
        let layers = (wide_layers + narrow_layers).max(1);
        EncoderCost { layers, wide_layers: wide_layers.min(layers), narrow_keys, keys_as_products }
    }
}

prop_compose! {
    fn limits()(
        pages in 6usize..24,
        source_page_tokens in prop_oneof![Just(16usize), Just(32), Just(8)],
        running_rows in 1usize..9,
        more_step_rows in 0usize..20,
        step_encoder_tokens in 1usize..80,
        draft_rows in prop_oneof![1 => Just(0usize), 2 => 1usize..30],
        encoder in encoders(),
        pieces in pieces(),
    ) -> SchedulerLimits {
        SchedulerLimits {
            pool: PoolSize { pages, source_page_tokens, pieces },
            running_rows,
            call_rows: running_rows.div_ceil(2),
            step_rows: running_rows + more_step_rows,
            step_encoder_tokens,
            draft_rows,
            encoder,
        }
    }
}

prop_compose! {
    /// Three sources out of five always have the same length, so that requests share them; one has no tokens. With a
    /// few, logits are no numbers.
    fn request_source()(
        name in prop_oneof![20 => 3u32..8, 1 => Just(BROKEN)],
        tokens in 1usize..70,
    ) -> Vec<u32> {
        source(name, if name < 6 { 33 } else { tokens * usize::from(name != 7) })
    }
}

/// Controls over ids of the fake model; most of them leave it enough ids.
fn controls() -> impl Strategy<Value = Controls> {
    let none = Controls::default;
    let id = || 0u32..VOCABULARY;
    let ids = move |most: usize| prop::collection::vec(id(), 1..most);
    prop_oneof![
        (0.6f32..1.8).prop_map(move |repetition_penalty| Controls { repetition_penalty, ..none() }),
        (-2.0f32..2.0, -2.0f32..2.0).prop_map(move |(presence_penalty, frequency_penalty)| Controls {
            presence_penalty,
            frequency_penalty,
            ..none()
        }),
        (1u32..4).prop_map(move |no_repeat_ngram| Controls { no_repeat_ngram, ..none() }),
        (ids(6), -5.0f32..5.0).prop_map(move |(ids, bias)| Controls {
            biases: ids.into_iter().map(|id| TokenBias { id, bias }).collect(),
            ..none()
        }),
        (ids(30), ids(5)).prop_map(move |(allowed, banned)| Controls {
            allowed: Some(allowed.into_iter().collect()),
            banned,
            ..none()
        }),
        prop::collection::vec(ids(4), 1..9).prop_map(move |bad_words| Controls { bad_words, ..none() }),
        (prop::option::of(id()), ids(3)).prop_map(move |(forced_first, forced_last)| Controls {
            forced_first,
            forced_last,
            ..none()
        }),
        (ids(4), 1.0f32..1.5).prop_map(move |(stop_tokens, repetition_penalty)| Controls {
            stop_tokens,
            repetition_penalty,
            ..none()
        }),
    ]
}

/// A constraint on the form of a text. Some leave a search fewer ids than it is wide, or none.
fn form() -> impl Strategy<Value = Constraint> {
    let rhythm = (1u32..6, 0u32..9).prop_map(|(bar, bars)| Rhythm { bar, bars }.constraint());
    let automaton = prop::collection::vec(any::<u8>(), 1..6);
    prop_oneof![rhythm, automaton.prop_map(|states| Automaton { states }.constraint())]
}

/// A few targets.
fn targets() -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(3u32..VOCABULARY, 0..6), 1..12)
}

prop_compose! {
    fn request()(
        source in request_source(),
        decoder_prompt in prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0u32..40, 1..30)],
        choices in 1u32..4,
        max_tokens in 0u32..50,
        min_tokens in 0u32..6,
        ignore_end in any::<bool>(),
        log_probs in prop::option::weighted(0.3, 0u32..4),
        prompt_scores in prop::option::weighted(0.3, (0u32..4, 0usize..20)),
        seed in any::<u64>(),
        beams in prop::option::weighted(0.3, beams()),
        controls in prop_oneof![1 => Just(Controls::default()), 1 => controls()],
        form in prop::option::weighted(0.3, form()),
        targets in prop::option::weighted(0.5, targets()),
        stop in prop::option::weighted(0.3, (0u32..VOCABULARY, 0u32..VOCABULARY)),
        speculation in any::<bool>(),
    ) -> GenerationRequest {
        let asked = GenerationRequest {
            controls: Arc::new(controls.in_order()),
            constraint: form,
            stop: stop.filter(|_| beams.is_some()).map(|(first, second)| stop_pair([first, second])),
            decoder_prompt,
            choices: beams.map_or(choices, |beams| choices.min(beams.width)),
            beams,
            min_tokens: min_tokens.min(max_tokens),
            ignore_end,
            sampling: Sampling { seed, ..Sampling::GREEDY },
            log_probs,
            prompt_scores: prompt_scores.map(|(top, from)| PromptScores { top, from }),
            exact_steps: 100,
            speculation,
            ..GenerationRequest::new(source, max_tokens)
        };
        match targets.filter(|_| beams.is_some()) {
            Some(targets) => GenerationRequest { constraint: Some(OneOf(targets).constraint()), ..asked },
            None => asked,
        }
    }
}

prop_compose! {
    fn beams()(
        width in 1u32..7,
        length_penalty in prop_oneof![Just(0.0), Just(1.0), Just(2.0), Just(-0.5)],
        early_stopping in early_stopping(),
    ) -> BeamSearch {
        BeamSearch { width, length_penalty, early_stopping }
    }
}

prop_compose! {
    fn encoding()(
        call in 1000u64..1004,
        name in 3u32..8,
        tokens in 1usize..150,
        is_mean in any::<bool>(),
    ) -> Asked {
        let readout = if is_mean { Readout::Mean } else { Readout::LastToken };
        Asked::Encoding(call, EncodeRequest { source: source(name, tokens).into(), readout })
    }
}

prop_compose! {
    fn cancellation()(
        after in 0usize..30,
        during_step in any::<bool>(),
        choice in prop::option::of(0u32..3),
    ) -> Cancellation {
        Cancellation { after, during_step, choice }
    }
}

prop_compose! {
    fn visit()(
        pause in 0usize..6,
        asked in prop_oneof![2 => request().prop_map(Asked::Generation), 1 => encoding()],
        is_idle in any::<bool>(),
        cancellation in prop::option::of(cancellation()),
    ) -> Visit {
        Visit { pause, asked, is_idle, cancellation }
    }
}

/// A client that waits for its answer.
fn patient_visit() -> impl Strategy<Value = Visit> {
    visit().prop_map(|visit| Visit { cancellation: None, ..visit })
}

/// A fault of the device.
fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::FailsAfter), Just(Fault::FailsBefore), any::<usize>().prop_map(Fault::NotFinite)]
}

/// A cancellation that is due in a step.
struct Due {
    step: usize,
    during_step: bool,
    request: RequestId,
    choice: Option<u32>,
}

/// A world, the cancellations that are still to come, and the faults of steps.
struct Trace {
    world: World,
    due: Vec<Due>,
    faults: BTreeMap<usize, Fault>,
}

impl Trace {
    /// Plays the visits of clients whose requests fit the pool, until the world is idle.
    fn play(world: World, visits: &[Visit]) -> World {
        Self::play_with(BTreeMap::new(), world, visits)
    }

    /// Plays them with faults of the steps of these numbers.
    fn play_with(faults: BTreeMap<usize, Fault>, world: World, visits: &[Visit]) -> World {
        let limits = world.limits;
        let fits = |asked: &Asked| match asked {
            Asked::Generation(asked) => {
                let pages = limits.pool.request_pages(asked.lengths());
                pages <= limits.pool.pages && asked.branches() <= limits.running_rows
            }
            Asked::Encoding(..) => true,
        };
        let mut trace = Self { world, due: Vec::new(), faults };
        let mut arrival = 0;
        for visit in visits.iter().filter(|visit| fits(&visit.asked)) {
            arrival += visit.pause;
            while trace.world.steps < arrival {
                trace.step();
            }
            trace.arrive(visit);
        }
        trace.world.step_bound += arrival;
        while !trace.world.scheduler.is_idle() {
            trace.step();
            let World { steps, step_bound, .. } = trace.world;
            assert!(steps <= step_bound, "not done after {steps} steps");
        }
        trace.world
    }

    fn arrive(&mut self, visit: &Visit) {
        let caller = |call| if visit.is_idle { idle_caller(call + 10_000) } else { caller(call) };
        let (request, choices) = match visit.asked.clone() {
            Asked::Generation(asked) => {
                let call = self.world.clients.len() as u64 + 1;
                (self.world.submit_as(&caller(call), asked.clone()), asked.choices)
            }
            Asked::Encoding(call, asked) => (self.world.encode_as(&caller(call), asked), 0),
        };
        if let Some(Cancellation { after, during_step, choice }) = visit.cancellation {
            let choice = choice.filter(|&choice| choice < choices);
            self.due.push(Due { step: self.world.steps + after, during_step, request, choice });
        }
    }

    fn step(&mut self) {
        let Self { world, due, faults } = self;
        let due: Vec<Due> = due.extract_if(.., |due| due.step <= world.steps).collect();
        for Due { request, choice, .. } in due.iter().filter(|due| !due.during_step) {
            world.cancel(*request, *choice);
        }
        let meanwhile = |world: &mut World| {
            for Due { request, choice, .. } in due.iter().filter(|due| due.during_step) {
                world.cancel(*request, *choice);
            }
        };
        if let Some(fault) = faults.remove(&world.steps) {
            return world.step_with(fault, meanwhile);
        }
        let result = world.plan_and_run();
        meanwhile(world);
        world.commit(&result);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_gets_what_it_would_get_alone(
        limits in limits(),
        visits in prop::collection::vec(patient_visit(), 1..25),
    ) {
        let world = Trace::play(World::new(limits), &visits);
        world.check_answers();
        for priority in Priority::ALL {
            let started = world.started.iter().filter(|id| world.clients[id].priority == priority);
            let in_order = |a: &&RequestId, b: &&RequestId| world.is_trivial(**a) || world.is_trivial(**b) || a < b;
            prop_assert!(started.is_sorted_by(in_order));
        }
    }

    #[test]
    fn cancellations_at_any_step_disturb_nobody_else(
        limits in limits(),
        visits in prop::collection::vec(visit(), 1..25),
    ) {
        Trace::play(World::new(limits), &visits).check_answers();
    }

    #[test]
    fn plans_made_ahead_change_no_answer(
        limits in limits(),
        visits in prop::collection::vec(visit(), 1..25),
    ) {
        Trace::play(World::running_ahead(limits), &visits).check_answers();
    }

    #[test]
    fn constraints_that_are_slow_change_no_answer(
        limits in limits(),
        visits in prop::collection::vec(visit(), 1..25),
        runs_ahead in any::<bool>(),
        steps in 1usize..6,
    ) {
        let world = if runs_ahead { World::running_ahead(limits) } else { World::new(limits) };
        Trace::play(world.with_slow_constraints(steps), &visits).check_answers();
    }

    #[test]
    fn failing_steps_and_rows_without_numbers_end_their_requests_and_disturb_nobody_else(
        limits in limits(),
        visits in prop::collection::vec(visit(), 1..25),
        faults in prop::collection::btree_map(0usize..150, fault(), 1..12),
        runs_ahead in any::<bool>(),
        steps in 0usize..4,
    ) {
        let world = if runs_ahead { World::running_ahead(limits) } else { World::new(limits) };
        Trace::play_with(faults, world.with_slow_constraints(steps), &visits).check_answers();
    }

    #[test]
    fn with_room_for_all_each_distinct_source_is_encoded_once(
        limits in limits(),
        visits in prop::collection::vec(patient_visit(), 1..25),
    ) {
        let pool = PoolSize { pages: 300, ..limits.pool };
        let world = Trace::play(World::new(SchedulerLimits { pool, ..limits }), &visits);
        world.check_answers();
        let asked = world.clients.iter().filter(|(id, it)| !world.is_trivial(**id) && !it.asked.source.is_empty());
        let sources: std::collections::BTreeSet<_> = asked.map(|(_, client)| &client.asked.source).collect();
        let runs = sources.len() + world.readers.len();
        prop_assert_eq!(world.scheduler.counters().encoder_runs, runs as u64);
        let only_interactive = world.clients.values().all(|client| client.priority == Priority::Interactive);
        prop_assert!(world.scheduler.counters().preemptions == 0 || !only_interactive);
    }
}
