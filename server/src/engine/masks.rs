//! Threads that move along constraints beside the steps: tokens, forks, tokens without a choice, masks.
//!
//! Used by the step loop: given the scheduler's moves when they come up, asked for masks before anything is drawn. The
//! threads start with the first request with a constraint. A step waits for them within limits only.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::request::ConstraintError;
use crate::scheduler::{MaskAsk, Move, Need, NoToken, PlaceId, Plan, Seen};
use crate::telemetry::EngineMetrics;

/// Most threads that are taken of a machine's cores where their number is not set.
const MOST_THREADS: usize = 8;
/// Time after which a loop that has nothing else to do looks for commands again.
const LISTEN: Duration = Duration::from_millis(1);

/// Limits of the work on constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskLimits {
    /// Number of threads; 0: half of the machine's cores, and eight at most.
    pub threads: usize,
    /// Longest time that a step waits for them.
    pub wait: Duration,
    /// Longest time that one move takes; its request fails then.
    pub time: Duration,
    /// Longest time that a move waits for a thread; its request fails then.
    pub queue: Duration,
}

/// Limits of `config.toml`.
impl Default for MaskLimits {
    fn default() -> Self {
        let [wait, time, queue] = [5, 1000, 5000].map(Duration::from_millis);
        Self { threads: 0, wait, time, queue }
    }
}

impl MaskLimits {
    fn number(self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.threads > 0 { self.threads } else { (cores() / 2).clamp(1, MOST_THREADS) }
    }
}

/// Threads, and the moves that they make.
pub(super) struct MaskThreads {
    limits: MaskLimits,
    pool: Option<rayon::ThreadPool>,
    reports: (Sender<Report>, Receiver<Report>),
    under_way: HashMap<PlaceId, UnderWay>,
    /// Number of moves that were begun.
    begun: u64,
    /// Moves under way that were not heard of.
    silent: usize,
    seen: Vec<(PlaceId, Seen)>,
    metrics: Arc<EngineMetrics>,
}

/// A move that is not over.
struct UnderWay {
    /// Which one of all moves it is: reports of one before it to the same place are passed over.
    number: u64,
    /// Whether anybody needs it.
    need: Need,
    /// When it came up.
    queued: Instant,
    /// When a thread began with it.
    began: Arc<OnceLock<Instant>>,
    /// Whether it was heard of.
    is_heard: bool,
    /// Whether a draw came before its mask.
    is_late: bool,
}

struct Report {
    to: PlaceId,
    /// Which one of all moves it is of.
    number: u64,
    news: News,
}

enum News {
    /// The move went on by these tokens, if it goes on by tokens without a choice.
    Gone(Option<Vec<u32>>),
    /// The move is over.
    Reached(Duration),
    Failed(NoToken),
}

impl MaskThreads {
    /// No move was begun yet.
    pub fn new(limits: MaskLimits, metrics: Arc<EngineMetrics>) -> Self {
        let (under_way, seen) = (HashMap::new(), Vec::new());
        Self { limits, pool: None, reports: channel(), under_way, begun: 0, silent: 0, seen, metrics }
    }

    /// The time that a step may wait.
    pub const fn patience(&self) -> Duration {
        self.limits.wait
    }

    /// Begins moves. One to a place to which another is under way takes its place: nothing is heard of that one.
    pub fn start(&mut self, moves: impl Iterator<Item = Move>) {
        for one in moves {
            self.begun += 1;
            let (number, queued) = (self.begun, Instant::now());
            let clock = Arc::<OnceLock<Instant>>::default();
            let (need, began) = (one.need(), Arc::clone(&clock));
            let under_way = UnderWay { number, need, queued, began, is_heard: false, is_late: false };
            let before = self.under_way.insert(one.to, under_way);
            let was_silent = before.is_some_and(|before| !before.is_heard);
            self.silent += usize::from(!was_silent);
            let reports = self.reports.0.clone();
            let make = move || make(one, &clock, |to, news| _ = reports.send(Report { to, number, news }));
            match self.pool() {
                Some(pool) => pool.spawn(make),
                None => make(),
            }
        }
    }

    /// Waits until every move has gone as far as its mask, while the step's patience lasts.
    pub fn wait(&mut self, patience: &mut Duration) {
        self.forget_unneeded();
        self.take_reports(patience, |threads| threads.silent == 0);
    }

    /// Waits for anything that the scheduler is to see, when there is nothing else to do.
    pub fn wait_for_anything(&mut self) {
        self.take_reports(&mut self.limits.wait.max(LISTEN), |threads| !threads.seen.is_empty());
    }

    /// Everything that was seen since the last call.
    pub fn seen(&mut self) -> Vec<(PlaceId, Seen)> {
        let mut no_time = Duration::ZERO;
        self.take_reports(&mut no_time, |_| true);
        self.forget_unneeded();
        self.end_long_ones();
        std::mem::take(&mut self.seen)
    }

    /// Waits for masks while the step's patience lasts, and gives them to their rules. Those that are not there are
    /// appended to `late`.
    pub fn settle(&mut self, plan: &mut Plan, patience: &mut Duration, late: &mut Vec<MaskAsk>) {
        for ask in &plan.masks {
            self.take_reports(patience, |threads| !threads.under_way.contains_key(&ask.place));
        }
        // What was asked holds its request.
        for ask in plan.masks.drain(..) {
            let is_there = ask.settle(&mut plan.rules);
            let under_way = self.under_way.get_mut(&ask.place);
            let is_late = under_way.is_some() || !is_there;
            under_way.into_iter().for_each(|one| one.is_late = true);
            if is_late {
                self.metrics.late_masks.inc();
                late.push(ask);
            }
        }
    }

    /// Takes the reports that are there, and those that come before it is enough or the patience is at its end.
    fn take_reports(&mut self, patience: &mut Duration, is_enough: impl Fn(&Self) -> bool) {
        loop {
            while let Ok(report) = self.reports.1.try_recv() {
                self.take(report);
            }
            if patience.is_zero() || is_enough(self) {
                return;
            }
            let began = Instant::now();
            let report = self.reports.1.recv_timeout(*patience);
            *patience = patience.saturating_sub(began.elapsed());
            match report {
                Ok(report) => self.take(report),
                Err(_) => *patience = Duration::ZERO,
            }
        }
    }

    fn take(&mut self, Report { to, number, news }: Report) {
        // A move that took too long, or whose request is over, is not waited for any more.
        let is_awaited = |one: &&mut UnderWay| one.number == number && one.need.is_there();
        let Some(one) = self.under_way.get_mut(&to).filter(is_awaited) else { return };
        let was_silent = !std::mem::replace(&mut one.is_heard, true);
        self.silent -= usize::from(was_silent);
        match news {
            News::Gone(forced) => self.seen.extend(forced.map(|tokens| (to, Seen::Forced(tokens)))),
            News::Reached(time) => {
                self.metrics.mask_seconds.observe(time.as_secs_f64());
                self.seen.extend(one.is_late.then_some((to, Seen::Mask)));
                self.under_way.remove(&to);
            }
            News::Failed(cause) => {
                tracing::warn!(?cause, "a request with a constraint cannot go on");
                self.seen.push((to, Seen::Failed(cause)));
                self.under_way.remove(&to);
            }
        }
    }

    /// Forgets moves to places that nobody needs any more. Threads do not begin with them.
    fn forget_unneeded(&mut self) {
        let silent = &mut self.silent;
        self.under_way.retain(|_, one| {
            let is_needed = one.need.is_there();
            *silent -= usize::from(!is_needed && !one.is_heard);
            is_needed
        });
    }

    /// Gives up moves that take too long, whose threads are free when they are over, and those that wait too long for a
    /// thread.
    fn end_long_ones(&mut self) {
        let MaskLimits { time, queue, .. } = self.limits;
        let cause = |one: &UnderWay| match one.began.get() {
            Some(began) if began.elapsed() > time => {
                let reason = format!("it takes longer than {time:?} to find what may come next (limits.mask_time_ms)");
                Some(NoToken::Unfollowed(ConstraintError { reason }))
            }
            None if one.queued.elapsed() > queue => Some(NoToken::NoThread { waited: queue }),
            _ => None,
        };
        let failed = |(to, one): (&PlaceId, &UnderWay)| {
            Some(Report { to: *to, number: one.number, news: News::Failed(cause(one)?) })
        };
        for report in self.under_way.iter().filter_map(failed).collect::<Vec<_>>() {
            self.take(report);
        }
    }

    /// The threads; without any, moves are made on the engine's own.
    fn pool(&mut self) -> Option<&rayon::ThreadPool> {
        if self.pool.is_none() {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(self.limits.number());
            match builder.thread_name(|index| format!("mask-{index}")).build() {
                Ok(pool) => self.pool = Some(pool),
                Err(error) => tracing::warn!(%error, "there are no threads for masks"),
            }
        }
        self.pool.as_ref()
    }
}

/// Makes a move, if anybody needs it, and reports of it. The step loop listens, unless its thread is gone.
fn make(one: Move, clock: &OnceLock<Instant>, report: impl Fn(PlaceId, News)) {
    if !one.need().is_there() {
        return;
    }
    let began = *clock.get_or_init(Instant::now);
    let to = one.to;
    let tell = |news| report(to, news);
    let tells_forced = one.is_forced_on();
    // The library catches its own panics; one more would end the process with everybody's requests.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut moved = one.go()?;
        tell(News::Gone(tells_forced.then(|| std::mem::take(&mut moved.forced))));
        moved.find_mask()
    }));
    let broken = || ConstraintError { reason: "the library that follows it failed".to_owned() };
    tell(match outcome.unwrap_or_else(|_| Err(broken())) {
        Ok(()) => News::Reached(began.elapsed()),
        Err(error) => News::Failed(NoToken::Unfollowed(error)),
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::request::{Caller, Constrain, Constraint, ConstraintState, GenerationRequest, RequestId};
    use crate::scheduler::{BoundaryTokens, PoolSize, Scheduler, SchedulerLimits};
    use model::{EncoderCost, PagePieces};

    const LIMITS: SchedulerLimits = SchedulerLimits {
        pool: PoolSize { pages: 64, source_page_tokens: 16, pieces: PagePieces::ONE },
        running_rows: 8,
        call_rows: 8,
        step_rows: 16,
        step_encoder_tokens: 64,
        draft_rows: 0,
        encoder: EncoderCost::undivided(4),
    };

    /// Allows all of 32 ids once it is opened.
    #[derive(Debug)]
    struct Gated(Mutex<Receiver<()>>);

    #[derive(Debug)]
    struct Open;

    impl Constrain for Gated {
        fn start(&self) -> Box<dyn ConstraintState> {
            self.0.lock().unwrap().recv().unwrap();
            Box::new(Open)
        }
    }

    impl ConstraintState for Open {
        fn fork(&self) -> Box<dyn ConstraintState> {
            Box::new(Self)
        }

        fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
            *words = vec![u32::MAX];
            Ok(())
        }

        fn advance(&mut self, _: u32) -> Result<(), ConstraintError> {
            Ok(())
        }

        fn list_forced(&mut self, _: &mut Vec<u32>) {}
    }

    /// A scheduler with a move to the place of its first sequence, and what opens its way.
    fn gated() -> (Scheduler, Sender<()>) {
        let (open, gate) = channel();
        let tokens = BoundaryTokens { start: 0, end: vec![1], vocabulary: 32 };
        let mut scheduler = Scheduler::new(LIMITS, tokens);
        let constraint = Some(Constraint::new(Gated(Mutex::new(gate))));
        let asked = GenerationRequest { constraint, ..GenerationRequest::new(&[5; 8][..], 4) };
        scheduler.submit(RequestId(0), &Caller::default(), asked).unwrap();
        scheduler.plan(&mut Plan::default());
        (scheduler, open)
    }

    #[test]
    fn nothing_is_heard_of_a_move_whose_place_another_has_taken() {
        let limits = MaskLimits { threads: 2, ..MaskLimits::default() };
        let mut threads = MaskThreads::new(limits, Arc::default());
        let mut schedulers = [gated(), gated()];
        for (scheduler, _) in &mut schedulers {
            threads.start(scheduler.take_moves());
        }
        // The places are of two schedulers, and have the same name.
        for (left, (_, open)) in [1, 0].into_iter().zip(&schedulers) {
            assert_eq!((threads.under_way.len(), threads.silent), (1, 1));
            open.send(()).unwrap();
            for _ in ["gone", "reached"] {
                let report = threads.reports.1.recv().unwrap();
                threads.take(report);
            }
            assert_eq!((threads.under_way.len(), threads.silent), (left, left));
        }
    }
}
