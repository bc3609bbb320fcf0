//! The calls that wait in a model's queue, and how much stands before a newcomer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::recall::Recall;
use crate::request::{CallId, Party, Priority};

/// A call of which sequences wait.
#[derive(Debug)]
pub struct WaitingCall {
    /// Its client.
    pub party: Party,
    /// Its priority.
    pub priority: Priority,
    /// Sequences that have not begun.
    pub rows: u32,
    /// Units of work of each.
    pub row_units: u64,
    /// It stays, whatever the queue is like: it would wait for ever, or has begun.
    pub stays: bool,
    /// Tells the call when it is taken from the queue.
    pub recall: Arc<Recall>,
}

impl WaitingCall {
    fn units(&self) -> u64 {
        u64::from(self.rows) * self.row_units
    }
}

/// Calls that wait. Ids of calls grow with time.
#[derive(Debug, Default)]
pub struct Waiting {
    calls: BTreeMap<CallId, WaitingCall>,
    /// Units of each client's calls, for each priority.
    parties: [HashMap<Party, u64>; Priority::ALL.len()],
    rows: [u32; Priority::ALL.len()],
    units: [u64; Priority::ALL.len()],
}

impl Waiting {
    /// Adds a call.
    pub fn insert(&mut self, id: CallId, call: WaitingCall) {
        self.count(&call.party, call.priority, Change { rows: i64::from(call.rows), units: call.units() as i64 });
        self.calls.insert(id, call);
    }

    /// Sequences of a call no longer wait. A call that is not here is ignored.
    pub fn leave(&mut self, id: CallId, rows: u32) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let rows = rows.min(call.rows);
        call.rows -= rows;
        call.stays = true;
        let units = u64::from(rows) * call.row_units;
        let (party, priority, is_over) = (call.party.clone(), call.priority, call.rows == 0);
        self.count(&party, priority, Change { rows: -i64::from(rows), units: -(units as i64) });
        if is_over {
            self.calls.remove(&id);
        }
    }

    /// Takes a call from the queue.
    pub fn take(&mut self, id: CallId) -> Option<WaitingCall> {
        let call = self.calls.remove(&id)?;
        self.count(&call.party, call.priority, Change { rows: -i64::from(call.rows), units: -(call.units() as i64) });
        Some(call)
    }

    /// Corrects what each sequence of a call costs.
    pub fn settle(&mut self, id: CallId, row_units: u64) {
        let Some(mut call) = self.take(id) else { return };
        call.row_units = row_units;
        self.insert(id, call);
    }

    /// Sequences of a priority that wait.
    pub const fn rows(&self, priority: Priority) -> u32 {
        self.rows[priority.index()]
    }

    /// Units of work that wait.
    pub const fn units(&self, priority: Priority) -> u64 {
        self.units[priority.index()]
    }

    /// Units that wait for a client.
    pub fn units_of(&self, party: &Party, priority: Priority) -> u64 {
        self.parties[priority.index()].get(party).copied().unwrap_or_default()
    }

    /// Mean units of a sequence that waits; `own` where none does.
    pub fn mean_row_units(&self, priority: Priority, own: u64) -> f64 {
        match self.rows(priority) {
            0 => own as f64,
            rows => self.units(priority) as f64 / f64::from(rows),
        }
    }

    /// Units that begin before the first sequence, of `row_units`, of a new call of this client. Clients have equal
    /// shares, and so have the calls of each: whoever has much waiting does not delay those who have little by all of
    /// it.
    pub fn units_ahead(&self, party: &Party, priority: Priority, row_units: u64) -> u64 {
        let own_calls = self.calls.values().filter(|call| call.priority == priority && call.party == *party);
        let own: u64 = own_calls.map(|call| call.units().min(row_units)).sum();
        let others = self.parties[priority.index()].iter().filter(|(other, _)| *other != party);
        let others: u64 = others.map(|(_, &units)| units.min(own + row_units)).sum();
        let before: u64 = Priority::ALL.into_iter().filter(|before| *before < priority).map(|p| self.units(p)).sum();
        before + own + others
    }

    /// The youngest call of the client with the most units, if that has more than `than` and the call may be taken.
    pub fn youngest_of_heaviest(&self, priority: Priority, than: u64) -> Option<CallId> {
        let (heaviest, units) = self.parties[priority.index()].iter().max_by_key(|(_, units)| **units)?;
        let is_taken = |call: &WaitingCall| call.priority == priority && call.party == *heaviest && !call.stays;
        let youngest = self.calls.iter().rev().find(|(_, call)| is_taken(call));
        youngest.filter(|_| *units > than).map(|(id, _)| *id)
    }

    fn count(&mut self, party: &Party, priority: Priority, change: Change) {
        let index = priority.index();
        self.rows[index] = self.rows[index].saturating_add_signed(change.rows as i32);
        self.units[index] = self.units[index].saturating_add_signed(change.units);
        let parties = &mut self.parties[index];
        if !parties.contains_key(party) {
            parties.insert(party.clone(), 0);
        }
        let Some(units) = parties.get_mut(party) else { return };
        *units = units.saturating_add_signed(change.units);
        if *units == 0 {
            parties.remove(party);
        }
    }
}

/// A change of what waits.
#[derive(Debug, Clone, Copy)]
struct Change {
    rows: i64,
    units: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(name: &str) -> Party {
        Party::of(name.as_bytes())
    }

    fn call(party_name: &str, rows: u32, row_units: u64) -> WaitingCall {
        let recall = Arc::default();
        WaitingCall { party: party(party_name), priority: Priority::Interactive, rows, row_units, stays: false, recall }
    }

    #[test]
    fn a_client_with_much_waiting_delays_another_by_as_much_as_that_one_asks_for() {
        let mut waiting = Waiting::default();
        (1..=100).for_each(|id| waiting.insert(CallId(id), call("flood", 1, 10)));
        let ahead = |name: &str, units| waiting.units_ahead(&party(name), Priority::Interactive, units);
        assert_eq!((ahead("flood", 10), ahead("other", 10), ahead("other", 30)), (1000, 10, 30));
        waiting.insert(CallId(101), call("other", 1, 10));
        assert_eq!(
            waiting.units_ahead(&party("other"), Priority::Interactive, 10),
            30,
            "its own and as much of others"
        );
        assert_eq!(waiting.units_ahead(&party("other"), Priority::Idle, 10), 1010, "idle ones wait for all of it");
    }

    #[test]
    fn a_call_of_many_sequences_delays_another_of_its_client_by_one() {
        let mut waiting = Waiting::default();
        waiting.insert(CallId(1), call("a", 1000, 10));
        assert_eq!(waiting.units_ahead(&party("a"), Priority::Interactive, 10), 10);
    }

    #[test]
    fn what_has_left_is_forgotten_and_counts_are_those_of_what_is_there() {
        let mut waiting = Waiting::default();
        waiting.insert(CallId(1), call("a", 3, 10));
        waiting.settle(CallId(1), 4);
        assert_eq!((waiting.rows(Priority::Interactive), waiting.units(Priority::Interactive)), (3, 12));
        waiting.leave(CallId(1), 2);
        assert_eq!(waiting.units_of(&party("a"), Priority::Interactive), 4);
        waiting.leave(CallId(1), 5);
        waiting.leave(CallId(1), 1);
        assert_eq!((waiting.rows(Priority::Interactive), waiting.units(Priority::Interactive)), (0, 0));
        assert!(waiting.calls.is_empty() && waiting.parties.iter().all(HashMap::is_empty));
    }

    #[test]
    fn the_youngest_call_of_the_client_with_the_most_goes_first_and_patient_ones_stay() {
        let mut waiting = Waiting::default();
        waiting.insert(CallId(1), call("a", 1, 10));
        waiting.insert(CallId(2), call("b", 1, 10));
        waiting.insert(CallId(3), call("b", 1, 10));
        waiting.insert(CallId(4), WaitingCall { stays: true, ..call("b", 1, 10) });
        assert_eq!(waiting.youngest_of_heaviest(Priority::Interactive, 29), Some(CallId(3)));
        assert_eq!(waiting.youngest_of_heaviest(Priority::Interactive, 30), None);
        assert_eq!(waiting.youngest_of_heaviest(Priority::Idle, 0), None);
    }
}
