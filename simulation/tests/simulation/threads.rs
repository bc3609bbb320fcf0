//! Threads that find masks beside the steps, in virtual time.

use simulation::scheduler::{Event, Move, Moved, NoToken, PlaceId, Plan, Scheduler, Seen};

use super::dice::Dice;

/// Mean time of work that takes some, in virtual microseconds.
const SLOW: f64 = 2e4;

/// The scheduler's moves under way.
#[derive(Debug)]
pub struct Threads {
    dice: Dice,
    under_way: Vec<UnderWay>,
    /// Masks that came after their draws.
    pub late: u64,
}

#[derive(Debug)]
struct UnderWay {
    to: PlaceId,
    work: Work,
    /// When it is done.
    due: u64,
    is_late: bool,
}

#[derive(Debug)]
enum Work {
    Move(Move),
    Mask(Moved),
}

impl Threads {
    pub fn new(dice: Dice) -> Self {
        Self { dice, under_way: Vec::new(), late: 0 }
    }

    /// Most work is done at once.
    fn time(&mut self) -> u64 {
        if self.dice.once_in(6) { self.dice.wait(SLOW) } else { 0 }
    }

    /// When something is done next.
    pub fn next(&self) -> Option<u64> {
        self.under_way.iter().map(|one| one.due).min()
    }

    /// Begins the moves that came up.
    pub fn take(&mut self, scheduler: &mut Scheduler, now: u64) {
        for one in scheduler.take_moves() {
            let due = now + self.time();
            self.under_way.push(UnderWay { to: one.to, work: Work::Move(one), due, is_late: false });
        }
    }

    /// Ends what is done by now, and tells the scheduler.
    pub fn work(&mut self, scheduler: &mut Scheduler, now: u64, events: &mut Vec<Event>) {
        let mut index = 0;
        while index < self.under_way.len() {
            if self.under_way[index].due > now {
                index += 1;
                continue;
            }
            let one = self.under_way.swap_remove(index);
            self.end(one, scheduler, events);
        }
    }

    fn end(&mut self, one: UnderWay, scheduler: &mut Scheduler, events: &mut Vec<Event>) {
        let UnderWay { to, work, due, is_late } = one;
        let seen = match work {
            Work::Move(one) => {
                let is_forced_on = one.is_forced_on();
                let mut moved = one.go().expect("only allowed tokens were chosen");
                if is_forced_on {
                    scheduler.see(to, Seen::Forced(std::mem::take(&mut moved.forced)), events);
                }
                let due = due + self.time();
                return self.under_way.push(UnderWay { to, work: Work::Mask(moved), due, is_late });
            }
            Work::Mask(moved) => moved.find_mask(),
        };
        match seen {
            Ok(()) if is_late => scheduler.see(to, Seen::Mask, events),
            Ok(()) => {}
            Err(error) => scheduler.see(to, Seen::Failed(NoToken::Unfollowed(error)), events),
        }
    }

    /// Begins the moves of a plan, and gives its rules their masks. Returns the outputs without.
    pub fn settle(&mut self, scheduler: &mut Scheduler, plan: &mut Plan, now: u64) -> Vec<u32> {
        self.take(scheduler, now);
        let mut late = Vec::new();
        for ask in std::mem::take(&mut plan.masks) {
            if !ask.settle(&mut plan.rules) {
                let one = self.under_way.iter_mut().find(|one| one.to == ask.place);
                one.expect("a place that was not reached has a move under way").is_late = true;
                scheduler.await_mask(ask.place);
                late.push(ask.output);
            }
        }
        self.late += late.len() as u64;
        late
    }
}
