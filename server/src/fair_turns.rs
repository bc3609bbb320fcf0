//! Fair turns: work that has not begun, of which clients get equal shares, and the calls of each client take turns.
//!
//! Used by the scheduler. The client that was given the least work has the next turn, as in start-time fair queueing: a
//! client with a flood of calls, or with expensive ones, does not delay another by more than that one asks for itself.

use crate::request::{CallId, Caller, Party};
use crate::turns::Turns;

/// Work that is given out.
pub trait Costs {
    /// Its cost, in any unit that all items have.
    fn cost(&self) -> u64;
}

/// Items before their turn.
#[derive(Debug)]
pub struct FairTurns<T> {
    clients: Vec<Client<T>>,
    /// Work that the client of the latest turn had been given before it. A client that comes now counts as having had
    /// as much, so that nobody saves up turns.
    floor: u64,
}

/// A client with items, or one that was given more than others before its items ended.
#[derive(Debug)]
struct Client<T> {
    party: Party,
    given: u64,
    calls: Turns<CallId, T>,
}

/// The place of a client in the order of turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    given: u64,
    index: usize,
}

impl<T> Default for FairTurns<T> {
    fn default() -> Self {
        Self { clients: Vec::new(), floor: 0 }
    }
}

impl<T: Costs> FairTurns<T> {
    /// Queues items behind others of the same call.
    pub fn push(&mut self, caller: &Caller, items: impl IntoIterator<Item = T>) {
        let floor = self.floor;
        let client = match self.clients.iter_mut().find(|client| client.party == caller.party) {
            Some(client) => client,
            None => {
                self.clients.retain(|client| !client.calls.is_empty() || client.given > floor);
                let party = caller.party.clone();
                self.clients.push(Client { party, given: floor, calls: Turns::default() });
                self.clients.last_mut().expect("one was just added")
            }
        };
        if client.calls.is_empty() {
            client.given = client.given.max(floor);
        }
        client.calls.push(caller.call, items);
    }

    /// The next item whose turn it is. A call that may not begin one now is passed over, and so is a client all of
    /// whose calls are.
    pub fn next(&mut self, mut may_begin: impl FnMut(&CallId, &T) -> bool) -> Option<T> {
        let mut passed = None;
        while let Some(place) = self.after(passed) {
            let client = &mut self.clients[place.index];
            if let Some(item) = client.calls.next(&mut may_begin) {
                client.given += item.cost();
                self.floor = self.floor.max(place.given);
                if self.is_empty() {
                    // What clients were given before a pause counts no more.
                    self.floor = self.clients.iter().map(|client| client.given).max().unwrap_or_default();
                }
                return Some(item);
            }
            passed = Some(place);
        }
        None
    }

    /// The item that [`Self::next`] gives when every call may begin one.
    pub fn peek(&self) -> Option<&T> {
        self.clients[self.after(None)?.index].calls.peek()
    }

    /// Removes selected items of a call and returns how many there were.
    pub fn remove(&mut self, call: &CallId, is_selected: impl Fn(&T) -> bool) -> usize {
        self.clients.iter_mut().map(|client| client.calls.remove(call, &is_selected)).sum()
    }

    /// Number of items that have not had their turn.
    pub fn len(&self) -> usize {
        self.clients.iter().map(|client| client.calls.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.iter().all(|client| client.calls.is_empty())
    }

    /// The first client with items in the order of turns, or the first one after `passed`.
    fn after(&self, passed: Option<Place>) -> Option<Place> {
        let have_items = self.clients.iter().enumerate().filter(|(_, client)| !client.calls.is_empty());
        let places = have_items.map(|(index, client)| Place { given: client.given, index });
        places.filter(|place| passed.is_none_or(|passed| *place > passed)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Item {
        name: &'static str,
        cost: u64,
    }

    impl Costs for Item {
        fn cost(&self) -> u64 {
            self.cost
        }
    }

    fn caller(party: &str, call: u64) -> Caller {
        Caller { call: CallId(call), party: Party::of(party.as_bytes()), ..Caller::default() }
    }

    fn items(name: &'static str, cost: u64, count: usize) -> impl Iterator<Item = Item> {
        (0..count).map(move |_| Item { name, cost })
    }

    fn order(turns: &mut FairTurns<Item>, count: usize) -> String {
        (0..count).map_while(|_| turns.next(|_, _| true)).map(|item| item.name).collect()
    }

    #[test]
    fn a_flood_of_calls_delays_another_client_by_one_turn() {
        let mut turns = FairTurns::default();
        (1..=100).for_each(|call| turns.push(&caller("flood", call), items("f", 10, 1)));
        assert_eq!(order(&mut turns, 5), "fffff");
        turns.push(&caller("other", 101), items("o", 10, 2));
        assert_eq!(order(&mut turns, 6), "ofofff");
    }

    #[test]
    fn clients_have_equal_shares_of_the_work_however_expensive_each_of_it_is() {
        let mut turns = FairTurns::default();
        turns.push(&caller("dear", 1), items("d", 30, 10));
        turns.push(&caller("cheap", 2), items("c", 10, 30));
        let order = order(&mut turns, 24);
        assert_eq!(order.matches('d').count(), 6, "{order}");
        assert_eq!(turns.len(), 16);
    }

    #[test]
    fn a_client_that_asks_one_by_one_gets_no_more_than_its_share() {
        let mut turns = FairTurns::default();
        turns.push(&caller("steady", 1), items("s", 10, 100));
        let mut order = String::new();
        for call in 2..42 {
            if turns.len() < 100 && order.ends_with('d') || call == 2 {
                turns.push(&caller("dear", call), items("d", 50, 1));
            }
            order.extend(turns.next(|_, _| true).map(|item| item.name));
        }
        assert!(order.matches('d').count() <= 8, "{order}");
    }

    #[test]
    fn calls_of_a_client_take_turns_and_what_may_not_begin_is_passed_over() {
        let mut turns = FairTurns::default();
        turns.push(&caller("a", 1), items("x", 1, 2));
        turns.push(&caller("a", 2), items("y", 1, 2));
        turns.push(&caller("b", 3), items("z", 1, 1));
        assert_eq!(turns.peek().map(|item| item.name), Some("x"));
        assert_eq!(turns.next(|call, _| call.0 == 3).map(|item| item.name), Some("z"));
        assert_eq!(turns.next(|_, _| false), None);
        assert_eq!(order(&mut turns, 9), "xyxy");
        assert!(turns.is_empty());
    }

    #[test]
    fn removed_items_are_gone_and_clients_without_any_are_forgotten() {
        let mut turns = FairTurns::default();
        turns.push(&caller("a", 1), items("x", 1, 3));
        assert_eq!(turns.remove(&CallId(1), |_| true), 3);
        (0..100_u64).for_each(|client| {
            turns.push(&caller(&client.to_string(), client), items("x", 1, 1));
            assert!(turns.next(|_, _| true).is_some());
        });
        assert!(turns.clients.len() < 4, "{}", turns.clients.len());
    }
}
