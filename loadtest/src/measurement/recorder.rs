//! Takes the records of a run, one after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::{ErrorCount, Figures};
use super::record::Record;
use super::spread::Spread;
use super::timeline::Timeline;
use crate::client::{FaultClass, Outcome};
use crate::scenario::Goodput;

/// Everything that was recorded so far.
#[derive(Debug, Default)]
pub struct Recorder {
    counts: Counts,
    limits: Option<Goodput>,
    ttft: Spread,
    tpot: Spread,
    itl: Spread,
    e2el: Spread,
    lag: Spread,
    errors: BTreeMap<FaultClass, ErrorCount>,
    timeline: Timeline,
    end: Duration,
    judged_end: Duration,
}

/// Numbers of requests and tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that ended.
    pub ended: u64,
    /// Requests with a whole answer.
    pub completed: u64,
    /// Requests without a whole answer.
    pub failed: u64,
    /// Requests whose client left on purpose.
    pub left: u64,
    /// Whole answers within the limits of goodput.
    pub good: u64,
    /// Tokens of the sources of whole answers.
    pub source_tokens: u64,
    /// Tokens of whole answers.
    pub target_tokens: u64,
}

impl Recorder {
    /// A recorder that counts answers within `limits` as good; without a limit, goodput is not reported.
    pub fn new(limits: Goodput) -> Self {
        let limits = (limits != Goodput::default()).then_some(limits);
        Self { limits, ..Self::default() }
    }

    /// Takes a record.
    pub fn add(&mut self, record: &Record) {
        self.counts.ended += 1;
        if record.outcome != Outcome::Left {
            self.end = self.end.max(record.end);
            if !record.reads_slowly {
                self.judged_end = self.judged_end.max(record.end);
            }
        }
        self.lag.add(record.lag());
        self.timeline.add(record);
        match &record.outcome {
            Outcome::Left => self.counts.left += 1,
            Outcome::Failed(fault) => {
                self.counts.failed += 1;
                let first = || ErrorCount { class: fault.class.to_string(), count: 0, example: fault.detail.clone() };
                self.errors.entry(fault.class).or_insert_with(first).count += 1;
            }
            Outcome::Whole => self.add_whole(record),
        }
    }

    fn add_whole(&mut self, record: &Record) {
        self.counts.completed += 1;
        self.counts.source_tokens += u64::from(record.source_tokens);
        self.counts.target_tokens += u64::from(record.target_tokens);
        if record.reads_slowly {
            self.counts.good += 1;
            return;
        }
        self.counts.good += u64::from(record.is_good(self.limits.unwrap_or_default()));
        self.e2el.add(record.e2el());
        if let Some(ttft) = record.ttft() {
            self.ttft.add(ttft);
        }
        if let Some(tpot) = record.tpot() {
            self.tpot.add(tpot);
        }
        for gap in record.gaps() {
            self.itl.add(gap);
        }
    }

    /// Numbers so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Times to the first text so far.
    pub fn ttft(&self) -> &Spread {
        &self.ttft
    }

    /// The figures of everything that was recorded, from the start of the run to the last answer.
    pub fn figures(&self) -> Figures {
        Figures {
            duration: self.end.as_secs_f64(),
            judged_duration: self.judged_end.as_secs_f64(),
            counts: self.counts,
            has_limits: self.limits.is_some(),
            ttft: self.ttft.clone(),
            tpot: self.tpot.clone(),
            itl: self.itl.clone(),
            e2el: self.e2el.clone(),
            lag: self.lag.clone(),
            errors: self.errors.values().cloned().collect(),
            seconds: self.timeline.seconds(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_leave_or_read_slowly_make_no_run_longer_than_the_server_did() {
        let mut recorder = Recorder::default();
        for (end, reads_slowly, outcome) in
            [(2, false, Outcome::Whole), (5, true, Outcome::Whole), (9, false, Outcome::Left)]
        {
            recorder.add(&Record {
                number: 0,
                kind: 0,
                reads_slowly,
                is_streamed: true,
                due: Duration::ZERO,
                sent: Duration::ZERO,
                end: Duration::from_secs(end),
                pieces: Vec::new(),
                source_tokens: 1,
                target_tokens: 1,
                outcome,
            });
        }
        let figures = recorder.figures();
        assert_eq!((figures.duration, figures.judged_duration), (5.0, 2.0));
    }
}
