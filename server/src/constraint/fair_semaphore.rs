//! A semaphore for which clients take turns: one that waits many times delays another by a single turn.
//!
//! Used by `trial`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::request::Party;
use crate::turns::Turns;

/// A number of places. Clones are the same semaphore.
#[derive(Debug, Clone)]
pub struct FairSemaphore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Places that nobody holds. Nobody waits while there are any.
    free: usize,
    waiting: Turns<Party, Waiting>,
    /// Number of the last one who waited.
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    /// Takes the place to who waits.
    place: oneshot::Sender<Place>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    semaphore: FairSemaphore,
}

impl FairSemaphore {
    /// With so many places, at least one.
    pub fn new(places: usize) -> Self {
        let state = State { free: places.max(1), waiting: Turns::default(), last: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A place, when it is the turn of this party.
    pub async fn acquire(&self, party: &Party) -> Place {
        let (_line, place) = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return self.place();
            }
            state.last += 1;
            let (number, (sender, receiver)) = (state.last, oneshot::channel());
            state.waiting.push(party.clone(), [Waiting { number, place: sender }]);
            (Line { semaphore: self, party, number }, receiver)
        };
        place.await.expect("who waits is forgotten only when it leaves")
    }

    fn place(&self) -> Place {
        Place { semaphore: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can be left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut state = self.semaphore.state();
            let next = state.waiting.next(|_, _| true);
            state.free += usize::from(next.is_none());
            next
        };
        // Where the next one has just left, the place comes back and is dropped again.
        if let Some(next) = next {
            drop(next.place.send(self.semaphore.place()));
        }
    }
}

/// Somebody who waits.
struct Line<'a> {
    semaphore: &'a FairSemaphore,
    party: &'a Party,
    number: u64,
}

impl Drop for Line<'_> {
    /// Forgets who leaves. Nothing is left of one who got a place.
    fn drop(&mut self) {
        self.semaphore.state().waiting.remove(self.party, |waiting| waiting.number == self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Asked<'a> = Pin<Box<dyn Future<Output = Place> + 'a>>;

    fn ready(asked: &mut Asked<'_>) -> Option<Place> {
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    fn party(name: &str) -> Party {
        Party::of(name.as_bytes())
    }

    /// Asks for a place of each party in order.
    fn asked<'a>(semaphore: &'a FairSemaphore, parties: &'a [Party]) -> Vec<Asked<'a>> {
        let asked = parties.iter().map(|party| -> Asked<'a> { Box::pin(semaphore.acquire(party)) });
        let mut all: Vec<_> = asked.collect();
        assert!(all.iter_mut().all(|one| ready(one).is_none()), "there is no place");
        all
    }

    /// The one who gets the place next.
    fn next(asked: &mut [Asked<'_>], done: &[usize]) -> (usize, Place) {
        let waiting = (0..asked.len()).filter(|index| !done.contains(index));
        let mut found: Vec<_> = waiting.filter_map(|index| Some((index, ready(&mut asked[index])?))).collect();
        assert_eq!(found.len(), 1, "there is one place");
        found.remove(0)
    }

    /// The order in which they get the only place.
    fn order(semaphore: &FairSemaphore, parties: &[Party]) -> Vec<usize> {
        let mut held = Some(ready(&mut (Box::pin(semaphore.acquire(&party("first"))) as Asked<'_>)).unwrap());
        let (mut waiting, mut done) = (asked(semaphore, parties), Vec::new());
        while done.len() < parties.len() {
            drop(held.take());
            let (index, place) = next(&mut waiting, &done);
            done.push(index);
            held = Some(place);
        }
        done
    }

    #[test]
    fn a_client_with_many_waiting_delays_another_by_one_turn() {
        let semaphore = FairSemaphore::new(1);
        let parties = ["many", "many", "many", "many", "one", "other", "other"].map(party);
        assert_eq!(order(&semaphore, &parties), [0, 4, 5, 1, 6, 2, 3]);
        assert_eq!(semaphore.state().free, 1);
        assert!(semaphore.state().waiting.is_empty());
    }

    #[test]
    fn one_client_is_served_in_order_of_arrival() {
        assert_eq!(order(&FairSemaphore::new(1), &vec![Party::default(); 4]), [0, 1, 2, 3]);
    }

    #[test]
    fn there_are_as_many_places_as_were_asked_for() {
        let (semaphore, one) = (FairSemaphore::new(2), party("one"));
        let take = || ready(&mut (Box::pin(semaphore.acquire(&one)) as Asked<'_>));
        let (first, second) = (take().unwrap(), take().unwrap());
        assert!(take().is_none(), "who leaves at once takes nothing");
        drop(first);
        let third = take().unwrap();
        assert!(take().is_none());
        drop((second, third));
        assert_eq!(semaphore.state().free, 2);
        assert_eq!(FairSemaphore::new(0).state().free, 1);
    }

    #[test]
    fn who_leaves_loses_no_place() {
        let semaphore = FairSemaphore::new(1);
        let parties = ["one", "one", "two", "three"].map(party);
        let held = ready(&mut (Box::pin(semaphore.acquire(&parties[0])) as Asked<'_>)).unwrap();
        let mut waiting = asked(&semaphore, &parties);
        // The first leaves before its turn, the next one when it has its turn and does not know it yet.
        drop(waiting.remove(0));
        drop(held);
        assert_eq!(semaphore.state().waiting.len(), 2);
        drop(waiting.remove(0));
        assert_eq!(semaphore.state().waiting.len(), 1);
        let place = ready(&mut waiting[0]).unwrap();
        drop(waiting.pop());
        assert!(semaphore.state().waiting.is_empty());
        drop(place);
        assert_eq!(semaphore.state().free, 1);
    }
}
