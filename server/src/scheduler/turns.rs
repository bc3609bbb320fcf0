//! Turns: sequences that have not begun, given out one call after the other.
//!
//! Called by `queue` when there is a row for one more. A call of a thousand sequences therefore delays a call of one by
//! a single turn, and no call ever holds all rows.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::sequence::{Request, Selection};
use crate::request::CallId;

/// A choice of a request before its turn.
#[derive(Debug)]
pub struct Unbegun {
    /// The request.
    pub request: Arc<Request>,
    /// Index of the choice.
    pub choice: u32,
}

/// Sequences before their turn, and how many sequences of each call have begun and are not over.
#[derive(Debug, Default)]
pub struct Turns {
    /// Calls in the order of their next turns; none is empty.
    calls: VecDeque<Call>,
    begun: HashMap<CallId, usize>,
}

#[derive(Debug)]
struct Call {
    id: CallId,
    unbegun: VecDeque<Unbegun>,
}

impl Turns {
    /// Queues all choices of a request behind other choices of the same call.
    pub fn push(&mut self, call: CallId, request: &Arc<Request>) {
        let unbegun = (0..request.asked.choices).map(|choice| Unbegun { request: Arc::clone(request), choice });
        match self.calls.iter_mut().rev().find(|known| known.id == call) {
            Some(known) => known.unbegun.extend(unbegun),
            None => self.calls.push_back(Call { id: call, unbegun: unbegun.collect() }),
        }
    }

    /// The next sequence whose turn it is. A call of which `most` sequences have begun is passed over.
    pub fn next(&mut self, most: usize) -> Option<Unbegun> {
        for _ in 0..self.calls.len() {
            let mut call = self.calls.pop_front()?;
            let begun = self.begun.entry(call.id).or_default();
            let next = if *begun < most { call.unbegun.pop_front() } else { None };
            *begun += usize::from(next.is_some());
            if !call.unbegun.is_empty() {
                self.calls.push_back(call);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Ends a sequence of `call` that had its turn.
    pub fn end(&mut self, call: CallId) {
        let Some(begun) = self.begun.get_mut(&call) else { return };
        *begun -= 1;
        if *begun == 0 {
            self.begun.remove(&call);
        }
    }

    /// Removes selected sequences of a call and returns how many there were.
    pub fn remove(&mut self, call: CallId, selection: Selection) -> usize {
        let Some(index) = self.calls.iter().position(|known| known.id == call) else { return 0 };
        let unbegun = &mut self.calls[index].unbegun;
        let before = unbegun.len();
        unbegun.retain(|one| !selection.covers(one.request.id, one.choice));
        let removed = before - unbegun.len();
        if unbegun.is_empty() {
            self.calls.remove(index);
        }
        removed
    }

    /// Number of sequences that have not had their turn.
    pub fn len(&self) -> usize {
        self.calls.iter().map(|call| call.unbegun.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Number of sequences that have begun and are not over.
    pub fn begun(&self) -> usize {
        self.begun.values().sum()
    }
}
