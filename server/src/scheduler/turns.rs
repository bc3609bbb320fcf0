//! Turns: work that has not begun, given out one call after the other.
//!
//! Used by `queue` for sequences and by `encoder_lane` for encoder requests. A call of a thousand of them therefore
//! delays a call of one by a single turn.

use std::collections::VecDeque;

use crate::request::CallId;

/// Items before their turn.
#[derive(Debug)]
pub struct Turns<T> {
    /// Calls in the order of their next turns; none is empty.
    calls: VecDeque<Call<T>>,
}

#[derive(Debug)]
struct Call<T> {
    id: CallId,
    items: VecDeque<T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { calls: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    /// Queues items behind other items of the same call.
    pub fn push(&mut self, call: CallId, items: impl IntoIterator<Item = T>) {
        match self.calls.iter_mut().rev().find(|known| known.id == call) {
            Some(known) => known.items.extend(items),
            None => self.calls.push_back(Call { id: call, items: items.into_iter().collect() }),
        }
    }

    /// The next item whose turn it is. A call that may not begin one now is passed over.
    pub fn next(&mut self, mut may_begin: impl FnMut(CallId, &T) -> bool) -> Option<T> {
        for _ in 0..self.calls.len() {
            let mut call = self.calls.pop_front()?;
            let begins = call.items.front().is_some_and(|first| may_begin(call.id, first));
            let next = if begins { call.items.pop_front() } else { None };
            if !call.items.is_empty() {
                self.calls.push_back(call);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// The item that [`Self::next`] gives when every call may begin one.
    pub fn peek(&self) -> Option<&T> {
        self.calls.front()?.items.front()
    }

    /// Removes selected items of a call and returns how many there were.
    pub fn remove(&mut self, call: CallId, is_selected: impl Fn(&T) -> bool) -> usize {
        let Some(index) = self.calls.iter().position(|known| known.id == call) else { return 0 };
        let items = &mut self.calls[index].items;
        let before = items.len();
        items.retain(|item| !is_selected(item));
        let removed = before - items.len();
        if items.is_empty() {
            self.calls.remove(index);
        }
        removed
    }

    /// Number of items that have not had their turn.
    pub fn len(&self) -> usize {
        self.calls.iter().map(|call| call.items.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}
