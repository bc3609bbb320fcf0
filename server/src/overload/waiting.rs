//! The calls that wait in a model's queue, and how much stands before a newcomer.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::amount_sizes::AmountSizes;
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
    calls: HashMap<CallId, WaitingCall>,
    /// Calls of each priority.
    lines: [Line; Priority::ALL.len()],
}

/// All that waits with a priority.
#[derive(Debug, Default)]
struct Line {
    rows: u32,
    units: u64,
    parties: HashMap<Party, PartyCalls>,
    /// Units of each client.
    sizes: AmountSizes,
}

/// Calls of one client.
#[derive(Debug, Default)]
struct PartyCalls {
    units: u64,
    /// Units of each call.
    sizes: AmountSizes,
    calls: usize,
    /// Calls that may be taken from the queue.
    recallable: BTreeSet<CallId>,
}

/// A client that has to have places, or has more than its share of them.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The places' priority.
    pub priority: Priority,
    /// Only clients with more units than these lose calls.
    pub than: u64,
    /// Places that have to become free.
    pub rows: u32,
}

impl Waiting {
    /// Adds a call.
    pub fn insert(&mut self, id: CallId, call: WaitingCall) {
        self.lines[call.priority.index()].add(id, &call);
        self.calls.insert(id, call);
    }

    /// Takes a call from the queue.
    pub fn take(&mut self, id: CallId) -> Option<WaitingCall> {
        let call = self.calls.remove(&id)?;
        self.lines[call.priority.index()].remove(id, &call);
        Some(call)
    }

    /// Sequences of a call no longer wait. A call that is not here is ignored.
    pub fn leave(&mut self, id: CallId, rows: u32) {
        let Some(call) = self.take(id) else { return };
        let rows = call.rows.saturating_sub(rows);
        if rows > 0 {
            self.insert(id, WaitingCall { rows, stays: true, ..call });
        }
    }

    /// Corrects what each sequence of a call costs.
    pub fn settle(&mut self, id: CallId, row_units: u64) {
        let Some(call) = self.take(id) else { return };
        self.insert(id, WaitingCall { row_units, ..call });
    }

    /// Sequences of a priority that wait.
    pub const fn rows(&self, priority: Priority) -> u32 {
        self.lines[priority.index()].rows
    }

    /// Units of work that wait.
    pub const fn units(&self, priority: Priority) -> u64 {
        self.lines[priority.index()].units
    }

    /// Units that wait for a client.
    pub fn units_of(&self, party: &Party, priority: Priority) -> u64 {
        self.lines[priority.index()].parties.get(party).map_or(0, |party| party.units)
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
        let line = &self.lines[priority.index()];
        let mine = line.parties.get(party);
        let own = mine.map_or(0, |mine| mine.sizes.sum_up_to(row_units));
        let share = own.saturating_add(row_units);
        // Sums by size may count some of it twice, but nobody has more waiting than there is.
        let all = line.sizes.sum_up_to(share);
        let others = all.saturating_sub(mine.map_or(0, |mine| mine.units.min(share)));
        let before: u64 = Priority::ALL.into_iter().filter(|before| *before < priority).map(|p| self.units(p)).sum();
        before + own + others
    }

    /// The youngest call of the client with the most units among those with calls that may be taken from the queue.
    pub fn youngest_of_heaviest(&self, priority: Priority) -> Option<CallId> {
        let parties = self.lines[priority.index()].parties.values();
        let heaviest = parties.filter(|party| !party.recallable.is_empty()).max_by_key(|party| party.units)?;
        heaviest.recallable.last().copied()
    }

    /// The calls that make so much room if they are taken from the queue, each the youngest of the client with the most
    /// units then; `None` if there are not enough of them.
    pub fn calls_for(&self, room: Room) -> Option<Vec<CallId>> {
        let Room { priority, than, mut rows } = room;
        let parties = self.lines[priority.index()].parties.values().filter(|party| party.units > than);
        let mut parties: Vec<_> = parties.map(|party| (party.units, party.recallable.iter().rev())).collect();
        let mut taken = Vec::new();
        while rows > 0 {
            parties.sort_by_key(|(units, _)| Reverse(*units));
            let heavy = parties.iter_mut().take_while(|(units, _)| *units > than);
            let (units, id) = heavy.filter_map(|(units, calls)| Some((units, *calls.next()?))).next()?;
            let call = self.calls.get(&id)?;
            *units -= call.units();
            rows = rows.saturating_sub(call.rows);
            taken.push(id);
        }
        Some(taken)
    }
}

impl Line {
    fn add(&mut self, id: CallId, call: &WaitingCall) {
        let units = call.units();
        self.rows += call.rows;
        self.units += units;
        if !self.parties.contains_key(&call.party) {
            self.parties.insert(call.party.clone(), PartyCalls::default());
        }
        let Some(party) = self.parties.get_mut(&call.party) else { return };
        self.sizes.remove(party.units);
        party.units += units;
        self.sizes.add(party.units);
        party.sizes.add(units);
        party.calls += 1;
        if !call.stays {
            party.recallable.insert(id);
        }
    }

    fn remove(&mut self, id: CallId, call: &WaitingCall) {
        let units = call.units();
        self.rows -= call.rows;
        self.units -= units;
        let Some(party) = self.parties.get_mut(&call.party) else { return };
        self.sizes.remove(party.units);
        party.units -= units;
        self.sizes.add(party.units);
        party.sizes.remove(units);
        party.calls -= 1;
        party.recallable.remove(&id);
        if party.calls == 0 {
            self.parties.remove(&call.party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIORITY: Priority = Priority::Interactive;

    fn party(name: &str) -> Party {
        Party::of(name.as_bytes())
    }

    fn call(party_name: &str, rows: u32, row_units: u64) -> WaitingCall {
        let recall = Arc::default();
        WaitingCall { party: party(party_name), priority: PRIORITY, rows, row_units, stays: false, recall }
    }

    fn waiting(calls: impl IntoIterator<Item = WaitingCall>) -> Waiting {
        let mut waiting = Waiting::default();
        calls.into_iter().zip(1..).for_each(|(call, id)| waiting.insert(CallId(id), call));
        waiting
    }

    #[test]
    fn a_client_with_much_waiting_delays_another_by_as_much_as_that_one_asks_for() {
        let mut waiting = waiting((1..=100).map(|_| call("flood", 1, 10)));
        let ahead = |waiting: &Waiting, name: &str, units| waiting.units_ahead(&party(name), PRIORITY, units);
        assert_eq!((ahead(&waiting, "flood", 10), ahead(&waiting, "other", 10)), (1000, 10));
        assert_eq!(ahead(&waiting, "other", 30), 30);
        waiting.insert(CallId(101), call("other", 1, 10));
        assert_eq!(ahead(&waiting, "other", 10), 30, "its own and as much of others");
        let idle = waiting.units_ahead(&party("other"), Priority::Idle, 10);
        assert_eq!(idle, 1010, "idle ones wait for all of it");
    }

    #[test]
    fn a_call_of_many_sequences_delays_another_of_its_client_by_one() {
        let waiting = waiting([call("a", 1000, 10)]);
        assert_eq!(waiting.units_ahead(&party("a"), PRIORITY, 10), 10);
    }

    #[test]
    fn what_has_left_is_forgotten_and_counts_are_those_of_what_is_there() {
        let mut waiting = waiting([call("a", 3, 10)]);
        waiting.settle(CallId(1), 4);
        assert_eq!((waiting.rows(PRIORITY), waiting.units(PRIORITY)), (3, 12));
        waiting.leave(CallId(1), 2);
        assert_eq!(waiting.units_of(&party("a"), PRIORITY), 4);
        waiting.leave(CallId(1), 5);
        waiting.leave(CallId(1), 1);
        assert_eq!((waiting.rows(PRIORITY), waiting.units(PRIORITY)), (0, 0));
        assert_eq!(waiting.units_ahead(&party("b"), PRIORITY, u64::MAX), 0);
        assert!(waiting.calls.is_empty() && waiting.lines.iter().all(|line| line.parties.is_empty()));
    }

    #[test]
    fn the_youngest_call_of_the_client_with_the_most_goes_first_and_patient_ones_stay() {
        let patient = WaitingCall { stays: true, ..call("b", 1, 10) };
        let waiting = waiting([call("a", 1, 10), call("b", 1, 10), call("b", 1, 10), patient]);
        assert_eq!(waiting.youngest_of_heaviest(PRIORITY), Some(CallId(3)));
        let room = |than, rows| waiting.calls_for(Room { priority: PRIORITY, than, rows });
        assert_eq!((room(29, 1), room(30, 1)), (Some(vec![CallId(3)]), None));
        assert_eq!(waiting.youngest_of_heaviest(Priority::Idle), None);
    }

    #[test]
    fn a_client_all_of_whose_calls_stay_hides_nobody_with_less() {
        let patient = WaitingCall { stays: true, ..call("a", 9, 10) };
        let waiting = waiting([patient, call("b", 2, 10)]);
        assert_eq!(waiting.youngest_of_heaviest(PRIORITY), Some(CallId(2)));
        assert_eq!(waiting.calls_for(Room { priority: PRIORITY, than: 10, rows: 2 }), Some(vec![CallId(2)]));
    }

    #[test]
    fn room_is_made_by_those_with_the_most_or_not_at_all() {
        let waiting = waiting([call("a", 1, 10), call("a", 1, 10), call("b", 1, 10), call("b", 1, 15)]);
        let room = |than, rows| waiting.calls_for(Room { priority: PRIORITY, than, rows });
        assert_eq!(room(5, 3), Some([4, 2, 1].map(CallId).to_vec()));
        assert_eq!(room(15, 2), Some([4, 2].map(CallId).to_vec()));
        assert_eq!(room(15, 3), None, "then nobody has more than that");
        assert_eq!(room(0, 5), None);
    }
}
