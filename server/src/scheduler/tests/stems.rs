//! Stems: what exact searches keep of beginnings, when they give it up, and what it costs.

use std::time::{Duration, Instant};

use super::constraints::exact;
use super::fake_model::{END, VOCABULARY};
use super::one_of::OneOf;
use super::world::{LIMITS, World, asks, source, with_pages};
use crate::overload::StartLimits;
use crate::request::{
    BeamSearch, Constrain, Constraint, ConstraintError, ConstraintState, EarlyStopping, GenerationRequest,
};
use crate::scheduler::{PoolSize, Scheduler, SchedulerLimits};

/// Rows of exact searches among 243 targets of five tokens, which keep stems, or give them up after each step.
fn rows_of_searches(keeps_stems: bool) -> usize {
    let ids = |target: u32| (0..5).map(|place| 3 + 5 * place + target / 3_u32.pow(place) % 3).collect();
    let targets = OneOf((0..243).map(ids).collect()).constraint();
    let mut rows = 0;
    for name in 0..3 {
        let mut world = World::new(LIMITS);
        let asked = GenerationRequest { constraint: Some(targets.clone()), exact_steps: 2000, ..exact(name) };
        world.submit(GenerationRequest { decoder_prompt: (3..14).collect(), ..asked });
        while !world.scheduler.is_idle() {
            world.step();
            rows += world.plan.targets.len();
            let Scheduler { running, memory, .. } = &mut world.scheduler;
            if !keeps_stems {
                running.iter_mut().for_each(|running| running.give_up_stems(&mut memory.pool));
            }
        }
        world.check_answers();
    }
    rows
}

#[test]
fn a_search_comes_back_to_beginnings_whose_pages_it_kept() {
    let (kept, given_up) = (rows_of_searches(true), rows_of_searches(false));
    assert!(4 * kept < 3 * given_up, "{kept} rows, {given_up} without stems");
}

fn stems(world: &World) -> usize {
    world.scheduler.running.first().map_or(0, |running| running.stems.len())
}

#[test]
fn a_search_gives_up_its_stems_for_a_request_that_lacks_pages() {
    let mut world = World::new(with_pages(20));
    let search = world.submit(exact(1));
    while stems(&world) < 6 {
        world.step();
    }
    let free = world.scheduler.counts().free;
    let other = world.submit(asks(&source(9, 16 * free), 3));
    world.step();
    assert!(world.scheduler.running.iter().any(|running| running.sequence.request.id == other));
    world.run();
    world.check_answers();
    assert!(world.answer(search).finish.is_some() && world.scheduler.counters().preemptions == 0);
}

/// A world with an exact search that keeps stems, and one row left beside it.
fn keeping() -> World {
    let mut world = World::new(SchedulerLimits { running_rows: 4, call_rows: 4, ..with_pages(20) });
    world.submit(exact(1));
    while stems(&world) < 6 {
        world.step();
    }
    world
}

#[test]
fn a_search_keeps_its_stems_where_giving_them_up_would_let_nobody_begin() {
    let wide = BeamSearch { width: 2, length_penalty: 0.0, early_stopping: EarlyStopping::Unlikely };
    let lacks_rows = |free: usize| GenerationRequest { beams: Some(wide), ..asks(&source(9, 16 * free), 3) };
    let lacks_more_pages = |_: usize| asks(&source(9, 16 * 19), 3);
    for asked in [&lacks_rows as &dyn Fn(usize) -> GenerationRequest, &lacks_more_pages] {
        let mut world = keeping();
        let (before, free) = (stems(&world), world.scheduler.counts().free);
        world.submit(asked(free));
        world.step();
        assert!(stems(&world) >= before, "{} of {before} are left", stems(&world));
        world.run();
        world.check_answers();
    }
}

#[test]
fn a_search_keeps_its_stems_where_nobody_may_begin() {
    let mut world = keeping();
    let (before, free) = (stems(&world), world.scheduler.counts().free);
    world.submit(asks(&source(9, 16 * free), 3));
    world.scheduler.limit_starts(StartLimits { begin: 0, ..StartLimits::default() });
    world.step();
    assert!(stems(&world) >= before);
    world.scheduler.limit_starts(StartLimits::default());
    world.step();
    assert_eq!(world.scheduler.running.len(), 2, "it begins with the pages of stems");
    world.run();
    world.check_answers();
}

/// Texts of so many of the first ids, all of which are targets.
#[derive(Debug, Clone, Copy)]
struct Grid {
    ids: u32,
    tokens: usize,
}

impl Constrain for Grid {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }

    fn longest(&self) -> Option<usize> {
        Some(self.tokens + 1)
    }
}

impl ConstraintState for Grid {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(VOCABULARY.div_ceil(32) as usize, 0);
        let allowed = if self.tokens > 0 { 3..3 + self.ids } else { END[0]..END[0] + 1 };
        allowed.for_each(|id| words[id as usize / 32] |= 1 << (id % 32));
        Ok(())
    }

    fn advance(&mut self, _: u32) -> Result<(), ConstraintError> {
        self.tokens = self.tokens.saturating_sub(1);
        Ok(())
    }

    fn longest_after(&self, _: u32) -> Option<usize> {
        Some(self.tokens)
    }

    fn list_forced(&mut self, _: &mut Vec<u32>) {}
}

/// Runs an exact search of this width. Returns its steps, the most stems that it kept, and the time that the scheduler
/// took.
fn run_wide(width: u32) -> (usize, usize, Duration) {
    let rows = width as usize;
    let pool = PoolSize { pages: 8 * rows, ..LIMITS.pool };
    let limits = SchedulerLimits { pool, running_rows: rows, call_rows: rows, step_rows: 2 * rows, ..LIMITS };
    let mut world = World::new(limits);
    let beams = BeamSearch { width, length_penalty: 0.0, early_stopping: EarlyStopping::Unlikely };
    let constraint = Some(Constraint::new(Grid { ids: 8, tokens: 6 }));
    let asked = GenerationRequest { choices: width, beams: Some(beams), constraint, ..asks(&source(1, 12), 10) };
    world.submit(GenerationRequest { ignore_end: false, exact_steps: 40, ..asked });
    let (mut steps, mut most, mut time) = (0, 0, Duration::ZERO);
    while !world.scheduler.is_idle() {
        let began = Instant::now();
        world.scheduler.plan(&mut world.plan);
        time += began.elapsed();
        let result = world.run_plan();
        let began = Instant::now();
        world.commit(&result);
        time += began.elapsed();
        steps += 1;
        most = most.max(stems(&world));
    }
    (steps, most, time)
}

/// Comparing each beginning with each stem took minutes here.
#[test]
fn a_wide_search_keeps_a_bounded_number_of_stems_in_a_bounded_time() {
    let (steps, most, time) = run_wide(1536);
    assert!(most == 1024 && steps > 10, "{most} stems after {steps} steps");
    println!("{steps} steps: {time:?}");
    assert!(time < Duration::from_secs(20), "{time:?} for {steps} steps");
}
