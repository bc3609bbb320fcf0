//! The queue: sequences that wait for a row and pages.
//!
//! Calls take turns for the end of the queue; from there sequences are served in the order of their turns. A preempted
//! sequence returns to the front.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::sequence::{Request, Selection, Sequence, SequenceId};
use super::source::SourceSlot;
use super::turns::Turns;
use crate::request::CallId;

/// A sequence that had its turn and does not run.
#[derive(Debug)]
pub struct Waiting {
    /// The sequence.
    pub sequence: Sequence,
    /// The source it held when it was preempted.
    pub source: Option<SourceSlot>,
    /// Whether it ran before.
    pub preempted: bool,
}

/// A choice of a request before its turn, or its beam search, whose choice is 0.
#[derive(Debug)]
struct Unbegun {
    request: Arc<Request>,
    choice: u32,
}

/// Sequences that do not run.
#[derive(Debug, Default)]
pub struct Queue {
    /// Sequences that had their turn, oldest first; all are younger than the running ones.
    pub(super) waiting: VecDeque<Waiting>,
    turns: Turns<Unbegun>,
    /// Rows of the sequences of each call that had their turn and are not over, whether they run or wait.
    begun: HashMap<CallId, usize>,
    /// Sequences that had their turn since the start.
    sequences: u64,
}

impl Queue {
    /// Queues all sequences of a request.
    pub fn push(&mut self, call: CallId, request: &Arc<Request>) {
        let sequences = 0..request.asked.sequences();
        self.turns.push(call, sequences.map(|choice| Unbegun { request: Arc::clone(request), choice }));
    }

    /// The sequence that is to be admitted next. A turn is taken only while no sequence waits, so a later one stands
    /// behind at most one sequence of each call. A call whose sequences have begun with so many rows that the next one
    /// would exceed `call_rows` is passed over.
    pub fn head(&mut self, call_rows: usize) -> Option<&Waiting> {
        let begun = &mut self.begun;
        let begin = |call, next: &Unbegun| {
            let (begun, rows) = (begun.entry(call).or_default(), next.request.asked.branches());
            // A search that is wider than a call's share runs alone in its call.
            let begins = *begun == 0 || *begun + rows <= call_rows;
            *begun += if begins { rows } else { 0 };
            begins
        };
        if self.waiting.is_empty()
            && let Some(Unbegun { request, choice }) = self.turns.next(begin)
        {
            self.sequences += 1;
            let sequence = Sequence::new(SequenceId(self.sequences), request, choice);
            self.waiting.push_back(Waiting { sequence, source: None, preempted: false });
        }
        self.waiting.front()
    }

    /// Removes the head.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_front()
    }

    /// Puts a preempted sequence at the front; all waiting sequences are younger.
    pub fn put_back(&mut self, preempted: Waiting) {
        self.waiting.push_front(preempted);
    }

    /// Takes the source from the youngest waiting sequence that holds one.
    pub fn take_source(&mut self) -> Option<SourceSlot> {
        self.waiting.iter_mut().rev().find_map(|waiting| waiting.source.take())
    }

    /// Removes selected sequences of a call and returns how many there were. Sources that they held go to `release`.
    pub fn remove(&mut self, call: CallId, selection: Selection, mut release: impl FnMut(SourceSlot)) -> usize {
        let Self { waiting, turns, begun, .. } = self;
        let mut removed = turns.remove(call, |one| selection.covers(one.request.id, one.choice));
        waiting.retain_mut(|waiting| {
            if !waiting.sequence.is_in(selection) {
                return true;
            }
            removed += 1;
            end(begun, call, waiting.sequence.rows());
            waiting.source.take().into_iter().for_each(&mut release);
            false
        });
        removed
    }

    /// Ends a sequence of `call` that left the queue and took so many rows.
    pub fn end(&mut self, call: CallId, rows: usize) {
        end(&mut self.begun, call, rows);
    }

    /// Number of sequences in the queue.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.turns.len()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.turns.is_empty()
    }

    /// Rows of all sequences that had their turn and are not over, whether they run or wait.
    pub fn begun(&self) -> usize {
        self.begun.values().sum()
    }
}

/// Counts the rows of an ended sequence less.
fn end(begun: &mut HashMap<CallId, usize>, call: CallId, rows: usize) {
    let Some(count) = begun.get_mut(&call) else { return };
    *count -= rows;
    if *count == 0 {
        begun.remove(&call);
    }
}
