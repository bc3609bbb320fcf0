//! The scheduler's numbers as metrics.

use std::sync::Arc;

use crate::overload::Figures;
use crate::request::ShedReason;
use crate::scheduler::{Scheduler, SchedulerCounters};
use crate::telemetry::EngineMetrics;

/// Sets gauges to what the scheduler says, and adds what its counters gained since the last report.
pub(super) struct Reporter {
    metrics: Arc<EngineMetrics>,
    /// The counters at the last report.
    reported: SchedulerCounters,
    /// Calls that were shed by then.
    shed: [u64; ShedReason::NAMES.len()],
}

impl Reporter {
    /// Nothing is reported yet.
    pub fn new(metrics: Arc<EngineMetrics>) -> Self {
        Self { metrics, reported: SchedulerCounters::default(), shed: [0; ShedReason::NAMES.len()] }
    }

    /// Where steps are counted.
    pub fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    /// Brings the metrics up to date.
    pub fn report(&mut self, scheduler: &Scheduler, queue: &Figures) {
        let (counts, metrics) = (scheduler.counts(), &self.metrics);
        metrics.pages_free.set(counts.free as i64);
        metrics.pages_held.set(counts.held as i64);
        metrics.pages_cached.set(counts.cached as i64);
        metrics.running_rows.set(scheduler.running_rows() as i64);
        metrics.waiting_rows.set(scheduler.waiting() as i64);
        metrics.waiting_encodings.set(scheduler.waiting_encodings() as i64);
        let pages = counts.free + counts.held + counts.cached;
        metrics.page_usage_ratio.set(counts.held as f64 / pages.max(1) as f64);
        let room = scheduler.held_room();
        let waste = if room == 0 { 0.0 } else { 1.0 - scheduler.held_tokens() as f64 / room as f64 };
        metrics.page_waste_ratio.set(waste);
        metrics.steps.cross_pages.set(counts.held_sources as i64);
        metrics.steps.self_pages.set((counts.held - counts.held_sources) as i64);
        metrics.encoder.cache_bytes.set(counts.cached as i64 * metrics.steps.page_bytes.get());
        let counters = scheduler.counters();
        metrics.encoder_runs.inc_by(counters.encoder_runs - self.reported.encoder_runs);
        metrics.cross_cache_hits.inc_by(counters.cache_hits - self.reported.cache_hits);
        metrics.encoder.cache_misses.inc_by(counters.cache_misses - self.reported.cache_misses);
        metrics.encoder.cache_evictions.inc_by(counters.evictions - self.reported.evictions);
        metrics.drafts.inc_by(counters.drafts - self.reported.drafts);
        metrics.preemptions.inc_by(counters.preemptions - self.reported.preemptions);
        metrics.draft_tokens.inc_by(counters.drafted - self.reported.drafted);
        metrics.accepted_draft_tokens.inc_by(counters.accepted - self.reported.accepted);
        self.reported = counters;
        metrics.overload.expected_wait_seconds.set(queue.expected_wait_s);
        metrics.overload.service_rate.set(queue.units_per_s);
        metrics.overload.overloaded.set(i64::from(queue.is_overloaded));
        metrics.overload.row_limit.set(queue.row_limit as i64);
        for (counter, (now, before)) in metrics.overload.shed.iter().zip(queue.shed.iter().zip(&mut self.shed)) {
            counter.inc_by(now - std::mem::replace(before, *now));
        }
    }

    /// Drafted tokens that were wrong since the last report.
    pub const fn wrong_drafts(&self, scheduler: &Scheduler) -> u64 {
        let counters = scheduler.counters();
        (counters.drafted - self.reported.drafted) - (counters.accepted - self.reported.accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{CallId, Caller, GenerationRequest, RequestId};
    use crate::scheduler::{BoundaryTokens, Plan, PoolSize, SchedulerLimits};
    use model::{EncoderCost, PagePieces};

    /// A scheduler that has sent one source into its encoder.
    fn scheduler() -> Scheduler {
        let limits = SchedulerLimits {
            pool: PoolSize { pages: 8, source_page_tokens: 16, pieces: PagePieces::ONE },
            running_rows: 1,
            call_rows: 1,
            step_rows: 1,
            step_encoder_tokens: 64,
            draft_rows: 0,
            encoder: EncoderCost::undivided(1),
        };
        let mut scheduler = Scheduler::new(limits, BoundaryTokens { start: 0, end: vec![1], vocabulary: 9 });
        let caller = Caller { call: CallId(1), ..Caller::default() };
        scheduler.submit(RequestId(1), &caller, GenerationRequest::new([5, 6], 3)).unwrap();
        scheduler.plan(&mut Plan::default());
        scheduler
    }

    #[test]
    fn counters_of_two_engines_that_share_metrics_add_up() {
        let metrics = Arc::<EngineMetrics>::default();
        for mut reporter in [Reporter::new(Arc::clone(&metrics)), Reporter::new(Arc::clone(&metrics))] {
            let scheduler = scheduler();
            let queue = Figures {
                expected_wait_s: 0.5,
                units_per_s: 9.0,
                is_overloaded: true,
                row_limit: 41,
                shed: [1, 0, 0, 2],
            };
            reporter.report(&scheduler, &queue);
            reporter.report(&scheduler, &queue);
        }
        assert_eq!(metrics.overload.shed.each_ref().map(|counter| counter.get()), [2, 0, 0, 4]);
        assert_eq!((metrics.overload.expected_wait_seconds.get(), metrics.overload.overloaded.get()), (0.5, 1));
        assert_eq!(metrics.overload.row_limit.get(), 41);
        assert_eq!(metrics.encoder_runs.get(), 2);
    }
}
