//! Sequences that have not had their turn yet: one call after the other gives its next.
//!
//! Called by the scheduler, which lets one in when there is a row for it. So a call of a thousand sequences delays one
//! of a single sequence by one turn, not by a thousand; and no call ever holds all rows.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::sequence::Request;
use crate::request::{CallId, RequestId};

/// A choice of a request before its turn.
#[derive(Debug)]
pub struct Unbegun {
    /// What was asked.
    pub request: Arc<Request>,
    /// Which of its choices.
    pub choice: u32,
}

/// All of them, and how many sequences of each call had their turn and are not over.
#[derive(Debug, Default)]
pub struct Turns {
    /// The call whose turn is next comes first; none is empty.
    calls: VecDeque<Call>,
    begun: HashMap<CallId, usize>,
}

#[derive(Debug)]
struct Call {
    id: CallId,
    unbegun: VecDeque<Unbegun>,
}

impl Turns {
    /// Queues all choices of a request behind those of the same call.
    pub fn push(&mut self, call: CallId, request: &Arc<Request>) {
        let unbegun = (0..request.asked.choices).map(|choice| Unbegun { request: Arc::clone(request), choice });
        match self.calls.iter_mut().rev().find(|known| known.id == call) {
            Some(known) => known.unbegun.extend(unbegun),
            None => self.calls.push_back(Call { id: call, unbegun: unbegun.collect() }),
        }
    }

    /// The next sequence whose turn it is. A call of which `most` have begun is passed over.
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

    /// A sequence of `call` that had its turn is over.
    pub fn end(&mut self, call: CallId) {
        let Some(begun) = self.begun.get_mut(&call) else { return };
        *begun -= 1;
        if *begun == 0 {
            self.begun.remove(&call);
        }
    }

    /// Takes a request's choices out, or one of them; how many it were.
    pub fn remove(&mut self, call: CallId, request: RequestId, choice: Option<u32>) -> usize {
        let Some(place) = self.calls.iter().position(|known| known.id == call) else { return 0 };
        let unbegun = &mut self.calls[place].unbegun;
        let before = unbegun.len();
        unbegun.retain(|one| one.request.id != request || choice.is_some_and(|choice| choice != one.choice));
        let removed = before - unbegun.len();
        if unbegun.is_empty() {
            self.calls.remove(place);
        }
        removed
    }

    /// How many sequences have not had their turn.
    pub fn len(&self) -> usize {
        self.calls.iter().map(|call| call.unbegun.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Sequences that have begun and are not over.
    pub fn begun(&self) -> usize {
        self.begun.values().sum()
    }
}
