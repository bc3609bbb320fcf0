//! Turns at something that one thread may use at a time, in the order in which they asked.
//!
//! Used by `pool`. A lock of the standard library would let the thread that has just given its turn up take the next
//! one, so that another could wait through whole steps.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::pool::{SPIN_TURNS, locked, spin};

thread_local! {
    /// Whether this thread works during turns that it or another thread has: it would wait for itself if it asked for
    /// one.
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
}

/// Refuses turns to this thread from now on: everything that it does is part of another thread's turn.
pub fn work_in_turns_of_others() {
    IN_TURN.set(true);
}

/// Turns, one at a time.
#[derive(Default)]
pub struct Turns {
    /// Number of the turn that is asked for next.
    next: AtomicUsize,
    /// Number of the turn under way, or of the next one.
    now: AtomicUsize,
    sleepers: Mutex<()>,
    ended: Condvar,
}

/// A turn, which ends when it is dropped.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn, first awake and then asleep.
    pub fn take(&self) -> Turn<'_> {
        assert!(!IN_TURN.replace(true), "jobs of one pool do not nest");
        let own = self.next.fetch_add(1, Ordering::SeqCst);
        let is_now = || self.now.load(Ordering::SeqCst) == own;
        let mut waited = 0;
        while !is_now() && waited < SPIN_TURNS {
            waited += 1;
            spin(waited);
        }
        if !is_now() {
            let mut sleeping = locked(&self.sleepers);
            while !is_now() {
                sleeping = self.ended.wait(sleeping).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        IN_TURN.set(false);
        let now = self.0.now.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        if self.0.next.load(Ordering::SeqCst) != now {
            // Whoever is about to sleep holds the lock until it does, and is woken then.
            drop(locked(&self.0.sleepers));
            self.0.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_two_turns_in_a_row_while_another_waits() {
        let turns = Turns::default();
        let order = Mutex::new(Vec::new());
        let first = turns.take();
        std::thread::scope(|scope| {
            for name in 0..3 {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    for _ in 0..2 {
                        let _turn = turns.take();
                        locked(order).push(name);
                        // The others have asked again by the end of this turn.
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                });
                while turns.next.load(Ordering::SeqCst) < name + 2 {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_turn_within_a_turn_is_refused_instead_of_waited_for() {
        let turns = Turns::default();
        let turn = turns.take();
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turns.take())).is_err());
        drop(turn);
        drop(turns.take());
    }
}
