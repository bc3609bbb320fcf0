//! One request with its times, counted from the start of the run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::client::{Brought, Observed, Outcome};
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
    /// When the answer ended.
    pub end: Duration,
    /// Pieces of a stream, in the order in which they came.
    pub pieces: Vec<Arrival>,
    /// Tokens of the source.
    pub source_tokens: u32,
    /// Tokens of the target.
    pub target_tokens: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// A piece of a stream: text of a choice, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When it came.
    pub time: Duration,
    /// The choice, and whether there is text.
    pub brought: Brought,
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
        let pieces: Vec<Arrival> =
            observed.pieces.iter().map(|piece| Arrival { time: since(piece.time), brought: piece.brought }).collect();
        let texts = pieces.iter().filter(|piece| piece.brought.has_text).count() as u32;
        Self {
            number: slot.number,
            kind: request.kind,
            reads_slowly: matches!(request.behaviour, crate::workload::Behaviour::ReadsSlowly(_)),
            is_streamed: request.is_streamed,
            due: slot.due,
            sent: since(observed.sent),
            end: since(observed.end),
            source_tokens: observed.prompt_tokens.or(request.source_tokens).unwrap_or_default(),
            // Without the server's count, each piece of text is taken for a token.
            target_tokens: observed.completion_tokens.unwrap_or(texts),
            pieces,
            outcome: observed.outcome,
        }
    }

    /// Time from when it was due to the first text.
    pub fn ttft(&self) -> Option<Duration> {
        self.texts().next().map(|first| first.time.saturating_sub(self.due))
    }

    /// Time from when it was due to the end.
    pub fn e2el(&self) -> Duration {
        self.end.saturating_sub(self.due)
    }

    /// Pieces with text.
    pub fn texts(&self) -> impl Iterator<Item = &Arrival> {
        self.pieces.iter().filter(|piece| piece.brought.has_text)
    }

    /// Times between two pieces of text of the same choice.
    pub fn gaps(&self) -> Vec<Duration> {
        let mut last = BTreeMap::new();
        let gap = |piece: &Arrival| Some(piece.time.saturating_sub(last.insert(piece.brought.choice, piece.time)?));
        self.texts().filter_map(gap).collect()
    }

    /// Time per token after the first of its choice, of a stream with several tokens of a choice. Choices run side by
    /// side, so each counts with the time from its first piece to its end.
    pub fn tpot(&self) -> Option<Duration> {
        let mut spans = BTreeMap::new();
        for piece in &self.pieces {
            spans.entry(piece.brought.choice).or_insert((piece.time, piece.time)).1 = piece.time;
        }
        let choices = u32::try_from(spans.len()).ok().filter(|choices| *choices > 0)?;
        let further = self.target_tokens.checked_sub(choices).filter(|further| *further > 0)?;
        Some(spans.into_values().map(|(first, end)| end - first).sum::<Duration>() / further)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole stream: milliseconds and choice of each piece, and whether it is text.
    fn record(pieces: &[(u64, u32, bool)], target_tokens: u32) -> Record {
        let pieces = pieces.iter().map(|(ms, choice, has_text)| Arrival {
            time: Duration::from_millis(*ms),
            brought: Brought { choice: *choice, has_text: *has_text },
        });
        Record {
            number: 0,
            kind: 0,
            reads_slowly: false,
            is_streamed: true,
            due: Duration::from_millis(10),
            sent: Duration::from_millis(10),
            end: Duration::from_secs(9),
            pieces: pieces.collect(),
            source_tokens: 1,
            target_tokens,
            outcome: Outcome::Whole,
        }
    }

    #[test]
    fn choices_that_run_side_by_side_have_the_times_of_one_alone() {
        // The end token has no text.
        let alone = record(&[(100, 0, true), (120, 0, true), (140, 0, false)], 3);
        let three = [(100, true), (120, true), (140, false)];
        let beside = record(&three.map(|(ms, text)| [(ms, 0, text), (ms, 1, text), (ms, 2, text)]).concat(), 9);
        for record in [&alone, &beside] {
            assert_eq!(record.ttft(), Some(Duration::from_millis(90)));
            assert_eq!(record.tpot(), Some(Duration::from_millis(20)));
        }
        assert_eq!(alone.gaps(), [Duration::from_millis(20)]);
        assert_eq!(beside.gaps(), [Duration::from_millis(20); 3]);
    }

    #[test]
    fn a_choice_that_ends_early_counts_with_its_own_time() {
        // One choice of three tokens in 40 ms, one of two tokens in 5 ms.
        let two = [(100, 0, true), (100, 1, true), (105, 1, true), (120, 0, true), (140, 0, true)];
        assert_eq!(record(&two, 5).tpot(), Some(Duration::from_millis(15)));
        assert_eq!(record(&two[..2], 2).tpot(), None);
        assert_eq!(record(&[], 7).tpot(), None);
    }
}
