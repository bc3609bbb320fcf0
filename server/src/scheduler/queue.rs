//! The queue: sequences that wait for a row and pages.
//!
//! Clients have equal shares of the end of the queue, and calls of each take turns; from there sequences are served in
//! the order of their turns. A preempted sequence returns to the front. Each priority has turns of its own, and
//! interactive sequences stand before idle ones.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::sequence::{Request, Selection, Sequence, SequenceId};
use super::source::SourceSlot;
use crate::fair_turns::{Costs, FairTurns};
use crate::overload::Work;
use crate::request::{CallId, Caller, Priority};

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

impl Waiting {
    /// Whether it is an interactive sequence that ran before. Its client has read the beginning of its answer, so it
    /// goes on before anything else begins.
    pub fn goes_on(&self) -> bool {
        self.preempted && self.sequence.request.priority == Priority::Interactive
    }
}

/// A choice of a request before its turn, or its beam search, whose choice is 0.
#[derive(Debug)]
struct Unbegun {
    request: Arc<Request>,
    choice: u32,
}

impl Costs for Unbegun {
    fn cost(&self) -> u64 {
        let (asked, branches) = (&self.request.asked, self.request.asked.branches() as u64);
        // A source is encoded once for all choices.
        let source_tokens = if self.choice == 0 { asked.source.len() as u64 } else { 0 };
        Work { source_tokens, target_tokens: branches * asked.lengths().target_positions() as u64 }.units(1.0)
    }
}

/// Sequences that do not run.
#[derive(Debug, Default)]
pub struct Queue {
    /// Sequences that had their turn, interactive ones first, then oldest first; all are younger than the running ones
    /// of their priority.
    pub(super) waiting: VecDeque<Waiting>,
    /// Turns of each priority.
    turns: [FairTurns<Unbegun>; Priority::ALL.len()],
    /// Rows of the sequences of each call that had their turn and are not over, whether they run or wait.
    begun: HashMap<CallId, usize>,
    /// Sequences that had their turn since the start.
    sequences: u64,
}

impl Queue {
    /// Queues all sequences of a request.
    pub fn push(&mut self, caller: &Caller, request: &Arc<Request>) {
        let sequences = 0..request.asked.sequences();
        self.turns[request.priority.index()]
            .push(caller, sequences.map(|choice| Unbegun { request: Arc::clone(request), choice }));
    }

    /// The sequence of at least this priority that is to be admitted next. A turn is taken only while no sequence of
    /// its priority waits, so a later one stands behind at most one sequence of each call. A call whose sequences have
    /// begun with so many rows that the next one would exceed `call_rows` is passed over.
    pub fn head(&mut self, priority: Priority, call_rows: usize) -> Option<&Waiting> {
        for turn in Priority::ALL.into_iter().filter(|turn| *turn <= priority) {
            if self.front_is(turn) || self.begin(turn, call_rows) {
                return self.waiting.front();
            }
        }
        None
    }

    /// Lets a sequence of this priority, of which none waits, have its turn. Returns whether there is one.
    fn begin(&mut self, priority: Priority, call_rows: usize) -> bool {
        let begun = &mut self.begun;
        let begin = |call: &CallId, next: &Unbegun| {
            let (begun, rows) = (begun.entry(*call).or_default(), next.request.asked.branches());
            // A search that is wider than a call's share runs alone in its call.
            let begins = *begun == 0 || *begun + rows <= call_rows;
            *begun += if begins { rows } else { 0 };
            begins
        };
        let Some(Unbegun { request, choice }) = self.turns[priority.index()].next(begin) else { return false };
        self.sequences += 1;
        let sequence = Sequence::new(SequenceId(self.sequences), request, choice);
        self.waiting.push_front(Waiting { sequence, source: None, preempted: false });
        true
    }

    /// Whether the first sequence that waits is of this priority or a higher one.
    pub fn front_is(&self, priority: Priority) -> bool {
        self.waiting.front().is_some_and(|front| front.sequence.request.priority <= priority)
    }

    /// Whether the first sequence that waits is an interactive one that ran before.
    pub fn front_goes_on(&self) -> bool {
        self.waiting.front().is_some_and(Waiting::goes_on)
    }

    /// Removes the head.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_front()
    }

    /// Puts a preempted sequence before all of its priority, which are younger.
    pub fn put_back(&mut self, preempted: Waiting) {
        let turn = preempted.sequence.turn();
        let place = self.waiting.partition_point(|waiting| waiting.sequence.turn() < turn);
        self.waiting.insert(place, preempted);
    }

    /// Takes the source from the youngest waiting sequence that holds one and is not before `least`.
    pub fn take_source(&mut self, least: Priority) -> Option<SourceSlot> {
        let waiting = self.waiting.iter_mut().rev();
        let mut given = waiting.take_while(|waiting| waiting.sequence.request.priority >= least);
        given.find_map(|waiting| waiting.source.take())
    }

    /// Removes selected sequences of a call and returns how many there were. Sources that they held go to `release`.
    pub fn remove(&mut self, call: CallId, selection: Selection, mut release: impl FnMut(SourceSlot)) -> usize {
        let Self { waiting, turns, begun, .. } = self;
        let covered = |one: &Unbegun| selection.covers(one.request.id, one.choice);
        let mut removed = turns.iter_mut().map(|turns| turns.remove(&call, covered)).sum();
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
        self.waiting.len() + self.turns.iter().map(FairTurns::len).sum::<usize>()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.turns.iter().all(FairTurns::is_empty)
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
