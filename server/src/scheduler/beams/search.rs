//! A search of either kind: a beam search, or an exact one among finite targets.

use kernels::Candidate;

use super::beam::{Beam, Beginning};
use super::best_first::{BestFirst, Ran};
use super::host::Host;
use super::hypothesis::Hypothesis;

/// A search.
#[derive(Debug)]
pub enum Search {
    /// Drops branches.
    Beam(Beam),
    /// Drops none that could win.
    BestFirst(BestFirst),
}

/// The work that follows a step of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Branches go on, each from the branch of this index before the step.
    GoOn(Vec<usize>),
    /// Other branches run.
    ComeBack,
    /// The search is over.
    Over,
}

impl Search {
    /// Number of candidates that a branch must give.
    pub fn candidates(&self, branch: usize) -> usize {
        match self {
            Self::Beam(search) => search.candidates(),
            Self::BestFirst(search) => search.candidates(branch),
        }
    }

    /// Number of branches that run next.
    pub const fn branches(&self) -> usize {
        match self {
            Self::Beam(search) => search.branches(),
            Self::BestFirst(search) => search.branches(),
        }
    }

    /// Number of tokens of each branch.
    pub fn len(&self) -> usize {
        match self {
            Self::Beam(search) => search.len(),
            Self::BestFirst(search) => search.len(),
        }
    }

    /// Tokens of a branch.
    pub fn tokens(&self, branch: usize) -> &[u32] {
        match self {
            Self::Beam(search) => search.tokens(branch),
            Self::BestFirst(search) => search.tokens(branch),
        }
    }

    /// Number of first tokens that all branches have in common.
    pub fn stem(&self) -> usize {
        match self {
            Self::Beam(search) => search.stem(),
            Self::BestFirst(search) => search.stem(),
        }
    }

    /// First tokens on which all branches and all kept hypotheses agree, and all that may come back.
    pub fn agreed(&self) -> Beginning<'_> {
        match self {
            Self::Beam(search) => search.agreed(),
            Self::BestFirst(_) => Beginning::default(),
        }
    }

    /// The branches that ran in the last step, where the search may come back.
    pub fn ran(&self) -> &[Ran] {
        match self {
            Self::Beam(_) => &[],
            Self::BestFirst(search) => search.ran(),
        }
    }

    /// Kept hypotheses, best first. They are the result once the search is over.
    pub fn kept(&self) -> &[Hypothesis] {
        match self {
            Self::Beam(search) => search.kept(),
            Self::BestFirst(search) => search.kept(),
        }
    }

    /// Whether no other hypothesis can be better than those that are kept, once the search is over.
    pub const fn is_exact(&self) -> bool {
        match self {
            Self::Beam(_) => false,
            Self::BestFirst(search) => search.is_exact(),
        }
    }

    /// Whether it drops no branch that could win.
    pub const fn drops_none(&self) -> bool {
        matches!(self, Self::BestFirst(_))
    }

    /// Lets a branch of a search that drops none go on by tokens without a choice, as [`BestFirst::follow`] does.
    pub fn follow(&mut self, branch: usize, forced: &[Vec<Candidate>]) -> bool {
        match self {
            Self::Beam(_) => forced.is_empty(),
            Self::BestFirst(search) => search.follow(branch, forced),
        }
    }

    /// Takes the best candidates of each branch, and says what runs next. `host` knows the branches by their indices
    /// before the call.
    pub fn advance(&mut self, found: &[Vec<Candidate>], host: &mut impl Host) -> Next {
        match self {
            Self::Beam(search) => match search.advance(found, host) {
                parents if parents.is_empty() => Next::Over,
                parents => Next::GoOn(parents),
            },
            Self::BestFirst(search) => search.advance(found, host),
        }
    }
}
