//! One request with its times, counted from the start of the run.

use std::time::{Duration, Instant};

use crate::client::{Observed, Outcome};
use crate::scenario::Goodput;

/// One request. Latencies count from the moment at which it was due, so that a client or server that falls behind is
/// seen in them.
#[derive(Debug, Clone)]
pub struct Record {
    /// Number in the workload.
    pub number: u64,
    /// Index of its kind.
    pub kind: usize,
    /// Whether its client reads slowly, so that its latencies say nothing about the server.
    pub reads_slowly: bool,
    /// Whether its answer was streamed.
    pub is_streamed: bool,
    /// When it was due.
    pub due: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// When the first text came.
    pub first: Option<Duration>,
    /// When the answer ended.
    pub end: Duration,
    /// Times between pieces of text.
    pub gaps: Vec<Duration>,
    /// Tokens of the source.
    pub source_tokens: u32,
    /// Tokens of the target.
    pub target_tokens: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// A request's place in the workload and on the schedule.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// Number in the workload.
    pub number: u64,
    /// When it is due.
    pub due: Duration,
}

impl Record {
    /// A record of what was observed in a run that began at `start`.
    pub fn new(slot: Slot, start: Instant, request: &crate::workload::Request, observed: Observed) -> Self {
        let since = |time: Instant| time.saturating_duration_since(start);
        Self {
            number: slot.number,
            kind: request.kind,
            reads_slowly: matches!(request.behaviour, crate::workload::Behaviour::ReadsSlowly(_)),
            is_streamed: request.is_streamed,
            due: slot.due,
            sent: since(observed.sent),
            first: observed.first.map(since),
            end: since(observed.end),
            source_tokens: observed.prompt_tokens.or(request.source_tokens).unwrap_or_default(),
            // Without the server's count, each piece of text is taken for a token.
            target_tokens: observed.completion_tokens.unwrap_or(observed.pieces),
            gaps: observed.gaps,
            outcome: observed.outcome,
        }
    }

    /// Time from when it was due to the first text.
    pub fn ttft(&self) -> Option<Duration> {
        self.first.map(|first| first.saturating_sub(self.due))
    }

    /// Time from when it was due to the end.
    pub fn e2el(&self) -> Duration {
        self.end.saturating_sub(self.due)
    }

    /// Time per token after the first, of a stream of several tokens.
    pub fn tpot(&self) -> Option<Duration> {
        let further = self.target_tokens.checked_sub(1).filter(|further| *further > 0)?;
        Some(self.end.saturating_sub(self.first?) / further)
    }

    /// Time from when it was due to its sending.
    pub fn lag(&self) -> Duration {
        self.sent.saturating_sub(self.due)
    }

    /// Whether its answer was whole.
    pub fn is_whole(&self) -> bool {
        self.outcome == Outcome::Whole
    }

    /// Whether its answer was whole and within the limits. A limit of a time that the answer does not have is kept.
    pub fn is_good(&self, limits: Goodput) -> bool {
        let within = |time: Option<Duration>, limit: Option<f64>| match (time, limit) {
            (Some(time), Some(limit)) => time.as_secs_f64() * 1000.0 <= limit,
            _ => true,
        };
        self.is_whole()
            && within(self.ttft(), limits.ttft_ms)
            && within(self.tpot(), limits.tpot_ms)
            && within(Some(self.e2el()), limits.e2el_ms)
    }
}
