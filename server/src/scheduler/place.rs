//! Places in a request's constraint, one for each branch, and the moves from one to the next.
//!
//! A constraint goes on by a token, forks and finds a mask in tenths of a millisecond, for each of many rows: longer
//! than the engine thread may take. The scheduler says which moves are to be made and hears what was seen on the way;
//! threads beside the steps make them. A place is whole when it is reached, and never changes after that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kernels::{DrawRules, RuleId, TokenMask};

use super::event::{Event, NoToken};
use super::sequence::{Lines, Request, Selection, Sequence, SequenceId};
use super::state::Scheduler;
use crate::request::{Constraint, ConstraintError, ConstraintState, RequestId};

/// Names the place of a branch. It has at most one move under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaceId {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its branch.
    pub branch: usize,
}

/// Where a branch stands in its constraint, as far as the scheduler knows.
#[derive(Debug, Default)]
pub struct Place {
    ground: Ground,
    /// Tokens without a choice that a branch of a search goes on by. Their log-probabilities count, so their rows run
    /// with the one before them.
    pub forced: Vec<u32>,
    /// Whether the branch runs no row before something was seen there: tokens without a choice, or a mask that was
    /// late.
    pub is_awaited: bool,
}

/// The ground of a place, empty until it is reached. Clones are the same place.
#[derive(Debug, Clone, Default)]
struct Ground(Arc<Mutex<Option<Standing>>>);

/// A state and the mask of the draw that comes next.
#[derive(Debug)]
struct Standing {
    state: Box<dyn ConstraintState>,
    words: Vec<u32>,
}

impl Ground {
    /// No code that may panic runs under the lock, but for a state's fork, which leaves the state as it was.
    fn lock(&self) -> MutexGuard<'_, Option<Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is there to go on from: a copy while others go on from there too, and the last takes it itself.
    fn leave(self) -> Option<Standing> {
        match Arc::try_unwrap(self.0) {
            Ok(only) => only.into_inner().unwrap_or_else(PoisonError::into_inner),
            Err(shared) => {
                let fork = |standing: &Standing| Standing { state: standing.state.fork(), words: Vec::new() };
                Self(shared).lock().as_ref().map(fork)
            }
        }
    }
}

impl Place {
    /// Most tokens that may come after a token; 0 where the token is not allowed.
    pub fn longest_after(&self, token: u32) -> usize {
        self.ground.lock().as_ref().and_then(|standing| standing.state.longest_after(token)).unwrap_or(0)
    }
}

/// Something that was seen on a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Tokens that come next because there is no other choice. The move goes on by them.
    Forced(Vec<u32>),
    /// A mask, which was late for a draw.
    Mask,
    /// Nothing will be seen any more.
    Failed(NoToken),
}

/// Where a move begins.
#[derive(Debug)]
enum Origin {
    Start(Constraint),
    From(Ground),
}

/// A move to a place: by tokens, then by those that come next without a choice, up to the mask of the draw that
/// follows.
#[derive(Debug)]
pub struct Move {
    /// The place.
    pub to: PlaceId,
    from: Origin,
    tokens: Vec<u32>,
    /// Most tokens without a choice to go on by.
    most_forced: usize,
    end: MoveEnd,
}

/// Tells whether anybody still needs a place: nobody does when its sequence is over.
#[derive(Debug, Clone)]
pub struct Need(Weak<Mutex<Option<Standing>>>);

impl Need {
    /// Whether anybody does.
    pub fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The end of a move.
#[derive(Debug)]
struct MoveEnd {
    need: Need,
    request: Arc<Request>,
    /// Number of generated tokens there.
    generated: usize,
}

/// A move that lacks its mask.
#[derive(Debug)]
pub struct Moved {
    /// Tokens that came without a choice.
    pub forced: Vec<u32>,
    standing: Standing,
    end: MoveEnd,
}

impl Move {
    /// Whether it goes on by tokens without a choice, which the scheduler has to see.
    pub const fn is_forced_on(&self) -> bool {
        self.most_forced > 0
    }

    /// The need for the place.
    pub fn need(&self) -> Need {
        self.end.need.clone()
    }

    /// Goes on by the tokens, and by those without a choice. These stop before a token that ends the answer and before
    /// the last of `max_tokens`, which are drawn.
    ///
    /// # Errors
    /// When a token is not allowed.
    pub fn go(self) -> Result<Moved, ConstraintError> {
        let Self { from, tokens, most_forced, mut end, .. } = self;
        let standing = match from {
            Origin::Start(constraint) => Some(Standing { state: constraint.start(), words: Vec::new() }),
            Origin::From(ground) => ground.leave(),
        };
        let lost = || ConstraintError { reason: "the place before it was not reached".to_owned() };
        let mut standing = standing.ok_or_else(lost)?;
        tokens.iter().try_for_each(|&token| standing.state.advance(token))?;
        let mut forced = Vec::new();
        if most_forced > 0 {
            standing.state.list_forced(&mut forced);
            let before_last = (end.request.asked.max_tokens as usize).saturating_sub(end.generated + 1);
            let most = before_last.min(most_forced);
            let ending = forced.iter().position(|&token| end.request.ends.ends(token));
            forced.truncate(ending.unwrap_or(most).min(most));
            forced.iter().try_for_each(|&token| standing.state.advance(token))?;
        }
        end.generated += forced.len();
        Ok(Moved { forced, standing, end })
    }
}

impl Moved {
    /// Finds the mask, with which the place is reached, if anybody needs it. Where nothing but the end is left, the
    /// answer ends before `min_tokens`.
    ///
    /// # Errors
    /// When the constraint's limits are reached.
    pub fn find_mask(self) -> Result<(), ConstraintError> {
        let Self { mut standing, end: MoveEnd { need, request, generated }, .. } = self;
        let Some(ground) = need.0.upgrade().map(Ground) else { return Ok(()) };
        let words = &mut standing.words;
        standing.state.write_allowed(words)?;
        if generated < request.asked.min_tokens as usize {
            hold_back(request.ends.held_back(), words);
        }
        *ground.lock() = Some(standing);
        Ok(())
    }
}

/// Takes these ids from a mask that has others.
fn hold_back(ids: &[u32], words: &mut [u32]) {
    let is_held = |id: u32| ids.contains(&id);
    let goes_on = (0..).zip(words.iter()).any(|(word, &bits)| {
        bits != 0 && (0..u32::BITS).any(|bit| bits >> bit & 1 == 1 && !is_held(word * u32::BITS + bit))
    });
    if goes_on {
        for &id in ids {
            words.get_mut(id as usize / 32).into_iter().for_each(|word| *word &= !(1 << (id % 32)));
        }
    }
}

/// A mask that a rule of a plan needs.
#[derive(Debug, Clone)]
pub struct MaskAsk {
    /// The place at which it is found.
    pub place: PlaceId,
    /// The output whose draw or candidates have the rule.
    pub output: u32,
    pub(super) rule: RuleId,
    ground: Ground,
}

impl MaskAsk {
    /// Gives the rule the mask of a place that was reached. At any other no token is allowed; returns false then.
    pub fn settle(&self, rules: &mut DrawRules) -> bool {
        let standing = self.ground.lock();
        let words = standing.as_ref().map_or(&[][..], |standing| &standing.words);
        rules.narrow(self.rule, TokenMask { words });
        standing.is_some()
    }
}

impl Sequence {
    /// Asks for the mask of a branch, for the rule of an output.
    pub(super) fn ask_mask(&self, branch: usize, rule: RuleId, output: u32) -> Option<MaskAsk> {
        let place = PlaceId { sequence: self.id, branch };
        self.places.get(branch).map(|at| MaskAsk { place, output, rule, ground: at.ground.clone() })
    }

    /// Whether its rows wait for something that is to be seen at its places.
    pub fn awaits_places(&self) -> bool {
        self.places.iter().any(|place| place.is_awaited)
    }

    /// Moves all branches from the start of the constraint to their latest tokens.
    pub(super) fn move_from_start(&mut self, moves: &mut Vec<Move>) {
        let Some(constraint) = self.request.asked.constraint.clone() else { return };
        self.places.clear();
        for branch in 0..self.branches() {
            let tokens = self.generated(branch).to_vec();
            self.move_to(branch, Origin::Start(constraint.clone()), tokens, moves);
        }
    }

    /// Moves each branch from the place of its parent, an index of a branch before, by its latest token.
    pub(super) fn move_from(&mut self, parents: &[usize], moves: &mut Vec<Move>) {
        if self.places.is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.places);
        for (branch, &parent) in parents.iter().enumerate() {
            let tokens = self.generated(branch).last().copied().into_iter().collect();
            self.move_to(branch, Origin::From(before[parent].ground.clone()), tokens, moves);
        }
    }

    fn move_to(&mut self, branch: usize, from: Origin, tokens: Vec<u32>, moves: &mut Vec<Move>) {
        let most_forced = self.most_forced();
        let place = Place { is_awaited: most_forced > 0, ..Place::default() };
        let (need, request) = (Need(Arc::downgrade(&place.ground.0)), Arc::clone(&self.request));
        let end = MoveEnd { need, request, generated: self.generated_tokens() };
        let to = PlaceId { sequence: self.id, branch };
        moves.push(Move { to, from, tokens, most_forced, end });
        self.places.push(place);
    }
}

impl Scheduler {
    /// The moves that are to be made since the last call, each beside the steps; [`Self::see`] hears of them.
    pub fn take_moves(&mut self) -> impl Iterator<Item = Move> {
        self.moves.drain(..)
    }

    /// Whether rows wait for something that is to be seen at their places.
    pub fn awaits_places(&self) -> bool {
        self.running.iter().any(|running| !running.ended && running.sequence.awaits_places())
    }

    /// A draw came before the mask of its place. The sequence waits for [`Seen::Mask`].
    pub fn await_mask(&mut self, place: PlaceId) {
        let running = self.running.iter_mut().find(|running| running.sequence.id == place.sequence);
        let at = running.and_then(|running| running.sequence.places.get_mut(place.branch));
        at.into_iter().for_each(|at| at.is_awaited = true);
    }

    /// Hears what was seen on a move, and appends what comes of it to `events`. Sequences that are gone are ignored. It
    /// is told after the commit of the plan that was made last before the move, or later.
    pub fn see(&mut self, place: PlaceId, seen: Seen, events: &mut Vec<Event>) {
        let waiting = self.queue.waiting.iter_mut().map(|waiting| &mut waiting.sequence);
        let running = self.running.iter_mut().filter(|running| !running.ended).map(|running| &mut running.sequence);
        let Some(sequence) = running.chain(waiting).find(|sequence| sequence.id == place.sequence) else { return };
        let is_heard = !self.cancelled.iter().any(|&gone| sequence.is_in(gone));
        // What is cancelled ends with the next commit, and harms no other choice until then.
        if matches!(seen, Seen::Failed(_)) && !is_heard {
            return;
        }
        if let Some(at) = sequence.places.get_mut(place.branch) {
            at.is_awaited = false;
        }
        let (request, choice) = (sequence.request.id, sequence.choice);
        match seen {
            Seen::Mask => {}
            Seen::Forced(tokens) if matches!(sequence.lines, Lines::Beams(_)) => {
                sequence.places.get_mut(place.branch).into_iter().for_each(|at| at.forced.clone_from(&tokens));
            }
            Seen::Forced(tokens) => {
                sequence.extend(&tokens);
                if is_heard && !tokens.is_empty() {
                    self.tell_announced(request, events);
                    events.extend(tokens.into_iter().map(|token| Event::Token { request, choice, token, score: None }));
                }
            }
            Seen::Failed(cause) => {
                self.tell_announced(request, events);
                events.push(Event::Failed { request, cause });
                self.end(Selection { request, choice: None });
                self.sweep();
            }
        }
    }

    /// Tells what was announced of a request and not told, because the step that announced it failed or still runs.
    fn tell_announced(&mut self, request: RequestId, events: &mut Vec<Event>) {
        events.extend(self.announced.extract_if(.., |event| event.request() == request));
    }
}
