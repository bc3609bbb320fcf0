//! Turns: work that has not begun, given out one owner after the other.
//!
//! Used by the scheduler, whose owners are calls, and by `constraint`, whose owners are clients. An owner of a thousand
//! items therefore delays an owner of one by a single turn.

use std::collections::VecDeque;

/// Items before their turn, each of an owner `K`.
#[derive(Debug)]
pub struct Turns<K, T> {
    /// Owners in the order of their next turns; none is without items.
    owners: VecDeque<Owner<K, T>>,
}

#[derive(Debug)]
struct Owner<K, T> {
    key: K,
    items: VecDeque<T>,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { owners: VecDeque::new() }
    }
}

impl<K: PartialEq, T> Turns<K, T> {
    /// Queues items behind other items of the same owner.
    pub fn push(&mut self, owner: K, items: impl IntoIterator<Item = T>) {
        match self.owners.iter_mut().rev().find(|known| known.key == owner) {
            Some(known) => known.items.extend(items),
            None => self.owners.push_back(Owner { key: owner, items: items.into_iter().collect() }),
        }
    }

    /// The next item whose turn it is. An owner that may not begin one now is passed over.
    pub fn next(&mut self, mut may_begin: impl FnMut(&K, &T) -> bool) -> Option<T> {
        for _ in 0..self.owners.len() {
            let mut owner = self.owners.pop_front()?;
            let begins = owner.items.front().is_some_and(|first| may_begin(&owner.key, first));
            let next = if begins { owner.items.pop_front() } else { None };
            if !owner.items.is_empty() {
                self.owners.push_back(owner);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// The item that [`Self::next`] gives when every owner may begin one.
    pub fn peek(&self) -> Option<&T> {
        self.owners.front()?.items.front()
    }

    /// Removes selected items of an owner and returns how many there were.
    pub fn remove(&mut self, owner: &K, is_selected: impl Fn(&T) -> bool) -> usize {
        let Some(index) = self.owners.iter().position(|known| known.key == *owner) else { return 0 };
        let items = &mut self.owners[index].items;
        let before = items.len();
        items.retain(|item| !is_selected(item));
        let removed = before - items.len();
        if items.is_empty() {
            self.owners.remove(index);
        }
        removed
    }

    /// Number of items that have not had their turn.
    pub fn len(&self) -> usize {
        self.owners.iter().map(|owner| owner.items.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
}
