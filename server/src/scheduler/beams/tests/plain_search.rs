//! transformers' loop (5.17, `_beam_search` for a batch of one) over full lists of log-probabilities, line by line:
//! rectangular, with -10^9 for what is not there. The judge of [`super::super::Beam`].
//!
//! One thing differs: where ids that may be chosen run out, transformers goes on from what is not there, and returns
//! it. Here that leaves the loop wherever it appears.

use crate::request::{BeamSearch, EarlyStopping, FinishReason};
use crate::scheduler::beams::SearchBounds;
pub use crate::scheduler::beams::hypothesis::Hypothesis;

const NOWHERE: f32 = -1.0e9;

#[derive(Clone, Default)]
struct Entry {
    tokens: Vec<u32>,
    /// Sum of log-probabilities.
    sum: f32,
    /// Entries are ordered by it.
    score: f32,
    is_finished: bool,
}

impl Entry {
    /// Whether all of its tokens may be chosen.
    fn is_there(&self) -> bool {
        self.sum > NOWHERE / 2.0
    }
}

/// Searches with `log_probs`, a list over the vocabulary for every beginning. `ends` says which texts are at their end.
pub fn search(
    asked: BeamSearch,
    bounds: SearchBounds,
    ends: impl Fn(&[u32]) -> bool,
    log_probs: impl Fn(&[u32]) -> Vec<f32>,
) -> Vec<Hypothesis> {
    let width = asked.width as usize;
    let penalty = |length: usize| (length as f64).powf(asked.length_penalty) as f32;
    let mut running = vec![Entry { score: NOWHERE, sum: NOWHERE, ..Entry::default() }; width];
    (running[0].score, running[0].sum) = (0.0, 0.0);
    let mut finished = vec![Entry { score: NOWHERE, ..Entry::default() }; width];
    let mut length = 0;
    loop {
        length += 1;
        let mut grid = Vec::new();
        for beam in &running {
            for (id, log_prob) in (0..).zip(log_probs(&beam.tokens)) {
                let tokens = [beam.tokens.as_slice(), &[id]].concat();
                let sum = beam.sum + log_prob;
                grid.push(Entry { tokens, sum, score: sum, is_finished: false });
            }
        }
        grid.retain(Entry::is_there);
        let top = top(grid, (bounds.end_ids + 1).max(2) * width);
        let stops = |entry: &Entry| length == bounds.max_tokens || ends(&entry.tokens);
        let going_on = top.iter().map(|entry| {
            let score = entry.sum + if stops(entry) { NOWHERE } else { 0.0 };
            Entry { score, sum: score, ..entry.clone() }
        });
        let next = self::top(going_on.filter(Entry::is_there).collect(), width);
        for (rank, entry) in top.iter().enumerate() {
            let just_finished = stops(entry) && rank < width;
            let score = entry.sum / penalty(length) + if just_finished { 0.0 } else { NOWHERE };
            finished.push(Entry { score, is_finished: just_finished, ..entry.clone() });
        }
        finished = self::top(finished, width);
        running = next;
        let is_never = asked.early_stopping == EarlyStopping::Impossible && asked.length_penalty > 0.0;
        let Some(best) = running.first() else { break };
        let best = best.sum / penalty(if is_never { bounds.max_tokens } else { length });
        let least = finished.iter().map(|entry| entry.score).fold(f32::INFINITY, f32::min);
        let could_improve = finished.iter().any(|entry| best > if entry.is_finished { least } else { NOWHERE });
        let is_full = finished.iter().all(|entry| entry.is_finished);
        let all_stop = top.iter().all(stops);
        if !could_improve || is_full && asked.early_stopping == EarlyStopping::Full || all_stop {
            break;
        }
    }
    let hypothesis = |entry: Entry| {
        let reason = if ends(&entry.tokens) { FinishReason::Stop } else { FinishReason::Length };
        Hypothesis { tokens: entry.tokens, log_prob: entry.sum, score: entry.score, reason, held: Vec::new() }
    };
    finished.into_iter().filter(|entry| entry.is_finished).map(hypothesis).collect()
}

/// The best entries, best first; of equal ones the first.
fn top(mut entries: Vec<Entry>, count: usize) -> Vec<Entry> {
    entries.sort_by(|a, b| b.score.total_cmp(&a.score));
    entries.truncate(count);
    entries
}
