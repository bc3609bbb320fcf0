//! Exact searches among random targets, against scoring every one of them.

use std::collections::BTreeSet;

use kernels::Candidate;
use proptest::prelude::*;

use crate::request::{BeamSearch, EarlyStopping};
use crate::scheduler::beams::{BestFirst, ExactBounds, Host, Next};
use crate::scheduler::event::HeldScore;

/// Ids of the targets; the last ends them.
const VOCABULARY: u32 = 60;
const END: u32 = VOCABULARY - 1;

/// A model and the targets that it may write.
struct Tree {
    seed: u64,
    sharpness: f32,
    targets: BTreeSet<Vec<u32>>,
    /// Whether no target may end.
    refuses_ends: bool,
}

impl Tree {
    /// Random targets of up to `longest` tokens over so many ids.
    fn new(seed: u64, sharpness: f32, count: usize, ids: u32, longest: u64) -> Self {
        let number = |target: u64, index: u64| mixed(mixed(seed, target), index + 1);
        let target = |target: usize| {
            let length = number(target as u64, 77) % longest;
            (0..length).map(|index| (number(target as u64, index) % u64::from(ids)) as u32).collect()
        };
        Self { seed, sharpness, targets: (0..count).map(target).collect(), refuses_ends: false }
    }

    fn log_prob(&self, tokens: &[u32], id: u32) -> f32 {
        let state = tokens.iter().fold(self.seed, |state, &token| mixed(state, token.into()));
        -0.001 - self.sharpness * (mixed(state, id.into()) >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// Targets that begin so.
    fn behind(&self, tokens: &[u32]) -> impl Iterator<Item = &Vec<u32>> {
        self.targets.range(tokens.to_vec()..).take_while(move |target| target.starts_with(tokens))
    }

    /// The best ids that may follow.
    fn candidates(&self, tokens: &[u32], count: usize) -> Vec<Candidate> {
        let next = |target: &Vec<u32>| target.get(tokens.len()).copied().unwrap_or(END);
        let ids = self.behind(tokens).map(next).filter(|&id| id != END || !self.refuses_ends);
        let ids: BTreeSet<u32> = ids.collect();
        let mut all: Vec<Candidate> =
            ids.into_iter().map(|id| Candidate { id, log_prob: self.log_prob(tokens, id), rank: 0 }).collect();
        all.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
        all.truncate(count);
        all
    }

    /// At most so many tokens that follow without a choice, which end no target.
    fn forced(&self, tokens: &[u32], most: usize) -> Vec<u32> {
        let mut tokens = tokens.to_vec();
        let begun = tokens.len();
        while let [only] = self.candidates(&tokens, 2)[..]
            && only.id != END
            && tokens.len() < begun + most
        {
            tokens.push(only.id);
        }
        tokens.split_off(begun)
    }

    /// Tokens and scores of all targets, cut at `max_tokens`, best first.
    fn scores(&self, max_tokens: usize, length_penalty: f64) -> Vec<f32> {
        let cut = |target: &Vec<u32>| target.iter().copied().chain([END]).take(max_tokens).collect();
        let texts: BTreeSet<Vec<u32>> = self.targets.iter().map(cut).collect();
        let score = |text: &Vec<u32>| {
            let sum: f32 =
                (0..text.len()).map(|at| self.log_prob(&text[..at], text[at])).fold(0.0, |sum, one| sum + one);
            sum / (text.len() as f64).powf(length_penalty) as f32
        };
        let mut scores: Vec<f32> = texts.iter().map(score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        scores
    }
}

fn mixed(state: u64, value: u64) -> u64 {
    let state = (state ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// The branches of a search among targets.
struct Branches<'a> {
    tree: &'a Tree,
    tokens: Vec<Vec<u32>>,
}

impl Host for Branches<'_> {
    fn ends(&self, _: usize, token: u32) -> bool {
        token == END
    }

    fn longest(&self, branch: usize, token: u32) -> usize {
        let longer = [self.tokens[branch].as_slice(), &[token]].concat();
        self.tree.behind(&longer).map(|target| target.len() + 1 - longer.len()).max().unwrap_or(0)
    }

    fn keep(&mut self, _: usize, _: u32) -> Option<HeldScore> {
        panic!("an exact search holds no log-probabilities")
    }
}

/// A search as it is asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    width: u32,
    choices: usize,
    max_tokens: usize,
    steps: usize,
    length_penalty: f64,
    /// Most tokens without a choice that run together.
    forced: usize,
}

/// Runs a search to its end. Returns it with the number of its steps.
fn run(tree: &Tree, asked: Asked) -> (BestFirst, usize) {
    let Asked { width, choices, max_tokens, steps, length_penalty, forced: most_forced } = asked;
    let beams = BeamSearch { width, length_penalty, early_stopping: EarlyStopping::Impossible };
    let longest = tree.targets.iter().map(Vec::len).max().unwrap() + 1;
    let mut search = BestFirst::new(beams, ExactBounds { choices, max_tokens, steps, longest });
    for step in 1.. {
        let mut tokens: Vec<Vec<u32>> = (0..search.branches()).map(|branch| search.tokens(branch).to_vec()).collect();
        assert!(tokens.len() <= width as usize && tokens.iter().all(|one| one.len() == search.len()));
        assert!(tokens.iter().all(|one| one.starts_with(&tokens[0][..search.stem()])));
        for (branch, tokens) in tokens.iter_mut().enumerate() {
            let forced = tree.forced(tokens, most_forced.min(max_tokens - tokens.len() - 1));
            let found = |at: usize| tree.candidates(&[tokens, &forced[..at]].concat(), 1);
            assert!(search.follow(branch, &(0..forced.len()).map(found).collect::<Vec<_>>()));
            tokens.extend(forced);
        }
        let found: Vec<_> =
            tokens.iter().enumerate().map(|(at, one)| tree.candidates(one, search.candidates(at))).collect();
        match search.advance(&found, &mut Branches { tree, tokens: tokens.clone() }) {
            Next::GoOn(parents) => {
                assert_eq!(parents.len(), search.branches());
                for (branch, parent) in parents.into_iter().enumerate() {
                    assert_eq!(search.tokens(branch).split_last().unwrap().1, tokens[parent]);
                }
            }
            Next::ComeBack => assert!(search.branches() > 0),
            Next::Over => return (search, step),
        }
    }
    unreachable!("a search ends")
}

fn scores(search: &BestFirst) -> Vec<f32> {
    search.kept().iter().map(|hypothesis| hypothesis.score).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_best_of_all_targets_are_found_and_a_search_that_stops_early_says_so(
        seed in any::<u64>(),
        sharpness in prop_oneof![Just(0.5_f32), Just(3.0), Just(12.0)],
        count in 1usize..400,
        ids in prop_oneof![Just(2u32), Just(5), Just(50)],
        longest in 1u64..7,
        width in 1u32..9,
        choices in 1usize..9,
        max_tokens in prop_oneof![Just(40usize), 1usize..6],
        steps in prop_oneof![Just(100_000usize), 1usize..30],
        length_penalty in prop_oneof![Just(0.0), Just(1.0), Just(0.6), Just(2.0), Just(-1.0), Just(-0.3)],
        forced in 0usize..8,
    ) {
        let tree = Tree::new(seed, sharpness, count, ids, longest);
        let (search, _) = run(&tree, Asked { width, choices, max_tokens, steps, length_penalty, forced });
        let mut all = tree.scores(max_tokens, length_penalty);
        all.truncate(choices);
        let found = scores(&search);
        prop_assert!(search.is_exact() || steps < 100_000);
        prop_assert!(!found.is_empty() && found.is_sorted_by(|a, b| a >= b));
        if search.is_exact() {
            prop_assert_eq!(found, all);
        }
    }
}

#[test]
fn a_thousand_targets_take_few_steps_where_some_are_much_better_than_others() {
    let tree = Tree::new(7, 12.0, 1000, 50, 8);
    let asked = Asked { width: 8, choices: 5, max_tokens: 40, steps: 1000, length_penalty: 0.0, forced: 0 };
    let (search, steps) = run(&tree, asked);
    assert!(search.is_exact() && steps < 60, "{steps} steps");
    assert_eq!(scores(&search), tree.scores(40, 0.0)[..5]);
}

#[test]
fn a_search_that_is_out_of_steps_gives_the_best_that_it_found() {
    let tree = Tree::new(3, 0.01, 1000, 50, 8);
    let asked = Asked { width: 8, choices: 5, max_tokens: 40, steps: 12, length_penalty: 0.0, forced: 0 };
    let (search, steps) = run(&tree, asked);
    assert_eq!((search.is_exact(), steps, search.kept().len()), (false, 12, 5));
}

#[test]
fn a_search_whose_ends_are_all_refused_is_over_at_a_bound_or_when_nothing_is_open() {
    let asked = Asked { width: 8, choices: 5, max_tokens: 40, steps: 12, length_penalty: 0.0, forced: 0 };
    let endless = |count| Tree { refuses_ends: true, ..Tree::new(3, 0.01, count, 50, 8) };
    let (search, steps) = run(&endless(1000), asked);
    assert_eq!((search.is_exact(), steps, search.kept().len()), (false, 4 * 12, 0));
    let (search, steps) = run(&endless(20), asked);
    assert!(search.is_exact() && search.kept().is_empty() && steps < 4 * 12, "{steps} steps");
}

#[test]
fn a_search_that_may_take_fewer_steps_than_a_target_has_tokens_finds_one() {
    let tree = Tree { targets: [vec![7; 30]].into(), ..Tree::new(3, 0.01, 1, 50, 8) };
    let asked = Asked { width: 1, choices: 1, max_tokens: 40, steps: 1, length_penalty: 0.0, forced: 0 };
    assert_eq!(run(&tree, asked).0.kept().len(), 1);
}
