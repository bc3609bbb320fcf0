//! Threads for constraints, in the time of steps.

use super::fake_model::mix;
use crate::scheduler::{Event, Move, Moved, NoToken, PlaceId, Plan, Scheduler, Seen};

/// Makes the scheduler's moves, at once or some steps later.
#[derive(Debug, Default)]
pub struct Threads {
    /// Most steps that a move takes before anything is seen of it, and as many until its mask is found.
    most_steps: usize,
    moves: Vec<UnderWay>,
    made: u64,
    /// Masks that came after their draws.
    pub late: usize,
}

#[derive(Debug)]
struct UnderWay {
    to: PlaceId,
    work: Work,
    steps_left: usize,
    is_late: bool,
}

#[derive(Debug)]
enum Work {
    Move(Move),
    Mask(Moved),
}

impl Threads {
    pub fn slow(most_steps: usize) -> Self {
        Self { most_steps, ..Self::default() }
    }

    /// Most steps that a sequence waits for each of its tokens.
    pub const fn steps_of_a_token(&self) -> usize {
        2 * self.most_steps
    }

    /// Begins the moves that came up.
    pub fn take(&mut self, scheduler: &mut Scheduler) {
        for one in scheduler.take_moves() {
            assert!(self.moves.iter().all(|other| other.to != one.to), "a place has one move under way");
            let steps_left = self.steps();
            self.moves.push(UnderWay { to: one.to, work: Work::Move(one), steps_left, is_late: false });
        }
    }

    fn steps(&mut self) -> usize {
        self.made += 1;
        mix(self.made, 7) as usize % (self.most_steps + 1)
    }

    /// Goes on with the moves for a step, and tells the scheduler.
    pub fn work(&mut self, scheduler: &mut Scheduler, events: &mut Vec<Event>) {
        for mut one in std::mem::take(&mut self.moves) {
            if one.steps_left > 0 {
                one.steps_left -= 1;
                self.moves.push(one);
            } else if let Some(next) = self.finish(one, scheduler, events) {
                self.moves.push(next);
            }
        }
    }

    fn finish(&mut self, one: UnderWay, scheduler: &mut Scheduler, events: &mut Vec<Event>) -> Option<UnderWay> {
        let UnderWay { to, work, is_late, .. } = one;
        let seen = |error| Seen::Failed(NoToken::Unfollowed(error));
        let moved = match work {
            Work::Move(one) => {
                let is_forced_on = one.is_forced_on();
                match one.go() {
                    Ok(mut moved) => {
                        if is_forced_on {
                            scheduler.see(to, Seen::Forced(std::mem::take(&mut moved.forced)), events);
                        }
                        let steps_left = self.steps();
                        if steps_left > 0 {
                            return Some(UnderWay { to, work: Work::Mask(moved), steps_left: steps_left - 1, is_late });
                        }
                        moved
                    }
                    Err(error) => {
                        scheduler.see(to, seen(error), events);
                        return None;
                    }
                }
            }
            Work::Mask(moved) => moved,
        };
        match moved.find_mask() {
            Ok(()) if is_late => scheduler.see(to, Seen::Mask, events),
            Ok(()) => {}
            Err(error) => scheduler.see(to, seen(error), events),
        }
        None
    }

    /// Gives the rules of a plan their masks, and returns the outputs without.
    pub fn settle(&mut self, scheduler: &mut Scheduler, plan: &mut Plan) -> Vec<u32> {
        let mut late = Vec::new();
        for ask in std::mem::take(&mut plan.masks) {
            if !ask.settle(&mut plan.rules) {
                let one = self.moves.iter_mut().find(|one| one.to == ask.place);
                one.expect("a place that was not reached has a move under way").is_late = true;
                scheduler.await_mask(ask.place);
                late.push(ask.output);
            }
        }
        self.late += late.len();
        late
    }
}
