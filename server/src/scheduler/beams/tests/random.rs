//! Random models: the results are those of transformers' loop.

use kernels::{Candidate, TokenScore};
use proptest::prelude::*;

use super::plain_search::{self, Hypothesis};
use crate::request::{BeamSearch, EarlyStopping};
use crate::scheduler::beams::{Beam, Host, SearchBounds};
use crate::scheduler::event::HeldScore;

/// Ids of the models.
pub const VOCABULARY: u32 = 8;

/// Logits after a beginning: a pure function of it, of the seed and of the model's sharpness.
pub fn logits(seed: u64, sharpness: f32, tokens: &[u32]) -> Vec<f32> {
    let mixed = |state: u64, token: u32| {
        let state = (state ^ u64::from(token)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^ (state >> 27)
    };
    let state = tokens.iter().fold(mixed(seed, 77), |state, &token| mixed(state, token));
    (0..VOCABULARY).map(|id| (mixed(state, id) >> 40) as f32 / (1_u64 << 24) as f32 * sharpness).collect()
}

/// Log-probabilities of all ids.
fn log_probs(logits: &[f32]) -> Vec<f32> {
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    logits.iter().map(|&logit| (f64::from(logit) - sum.ln()) as f32).collect()
}

/// The best candidates, ties by the lower id.
pub fn candidates(logits: &[f32], count: usize) -> Vec<Candidate> {
    let mut all: Vec<Candidate> =
        (0..).zip(log_probs(logits)).map(|(id, log_prob)| Candidate { id, log_prob, rank: 0 }).collect();
    all.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
    all.truncate(count);
    all
}

/// Ends of texts.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// Ids.
    pub ids: &'a [u32],
    /// Two ids one after the other, as a stop string may be.
    pub pair: Option<[u32; 2]>,
}

impl Ends<'_> {
    /// Whether a text is at its end with its last token.
    pub fn end(&self, tokens: &[u32]) -> bool {
        let is_pair = self.pair.is_some_and(|pair| tokens.ends_with(&pair));
        is_pair || tokens.last().is_some_and(|last| self.ids.contains(last))
    }
}

/// The branches of a search. The place of a token's log-probabilities has the token.
struct Texts<'a> {
    branches: Vec<Vec<u32>>,
    ends: Ends<'a>,
}

impl Host for Texts<'_> {
    fn ends(&self, branch: usize, token: u32) -> bool {
        self.ends.end(&[self.branches[branch].as_slice(), &[token]].concat())
    }

    fn longest(&self, _: usize, _: u32) -> usize {
        panic!("a beam search asks for no bound")
    }

    fn keep(&mut self, _: usize, id: u32) -> Option<HeldScore> {
        let held = HeldScore::default();
        held.hold(TokenScore { chosen: Candidate { id, log_prob: 0.0, rank: 0 }, top: Vec::new() });
        Some(held)
    }
}

/// The tokens of which these are the places.
fn tokens_of(held: &[HeldScore]) -> Vec<u32> {
    held.iter().map(|held| held.get().unwrap().chosen.id).collect()
}

/// Runs a search to its end.
pub fn run(asked: BeamSearch, bounds: SearchBounds, ends: Ends<'_>, logits: impl Fn(&[u32]) -> Vec<f32>) -> Beam {
    let mut search = Beam::new(asked, bounds);
    let mut agreed = Vec::new();
    while search.branches() > 0 {
        let found: Vec<_> = (0..search.branches())
            .map(|branch| candidates(&logits(search.tokens(branch)), search.candidates()))
            .collect();
        let before: Vec<Vec<u32>> = (0..search.branches()).map(|branch| search.tokens(branch).to_vec()).collect();
        let parents = search.advance(&found, &mut Texts { branches: before.clone(), ends });
        assert_eq!(parents.len(), search.branches());
        for (branch, parent) in parents.into_iter().enumerate() {
            let (_, tokens) = search.tokens(branch).split_last().unwrap();
            assert_eq!(tokens, before[parent], "a branch goes on from its parent");
        }
        assert!(search.agreed().tokens.starts_with(&agreed), "what was agreed on stays");
        agreed = search.agreed().tokens.to_vec();
        assert_eq!(tokens_of(search.agreed().held), agreed);
    }
    assert!(search.kept().iter().all(|hypothesis| tokens_of(&hypothesis.held) == hypothesis.tokens));
    assert!(search.kept().iter().all(|hypothesis| hypothesis.tokens.starts_with(&agreed)));
    search
}

/// All ways to end a search early.
pub fn early_stopping() -> impl Strategy<Value = EarlyStopping> {
    prop_oneof![Just(EarlyStopping::Unlikely), Just(EarlyStopping::Full), Just(EarlyStopping::Impossible)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_search_gives_the_hypotheses_and_scores_of_transformers(
        seed in any::<u64>(),
        sharpness in prop_oneof![Just(1.0_f32), Just(4.0), Just(12.0)],
        end_count in 0usize..4,
        width in 1u32..6,
        max_tokens in 1usize..9,
        length_penalty in prop_oneof![Just(0.0), Just(1.0), Just(0.6), Just(2.0), Just(-1.0), Just(-0.3)],
        early_stopping in early_stopping(),
        pair in prop::option::of((0..VOCABULARY, 0..VOCABULARY).prop_map(|(first, second)| [first, second])),
    ) {
        // transformers invents branches where ids run out: width and ends leave enough.
        let ends = Ends { ids: &[3, 0, 6][..end_count], pair };
        let end_ids = end_count + usize::from(pair.is_some());
        let width = width.min(VOCABULARY - end_ids as u32);
        let asked = BeamSearch { width, length_penalty, early_stopping };
        let bounds = SearchBounds { max_tokens, end_ids };
        let ours = run(asked, bounds, ends, |tokens| logits(seed, sharpness, tokens));
        let model = |tokens: &[u32]| log_probs(&logits(seed, sharpness, tokens));
        let theirs = plain_search::search(asked, bounds, |tokens| ends.end(tokens), model);
        let ours: Vec<_> = ours.kept().iter().map(|one| Hypothesis { held: Vec::new(), ..one.clone() }).collect();
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn equal_scores_go_to_the_lower_branch_then_to_the_lower_id() {
    let asked = BeamSearch { width: 2, length_penalty: 1.0, early_stopping: EarlyStopping::Full };
    let bounds = SearchBounds { max_tokens: 3, end_ids: 0 };
    let search = run(asked, bounds, Ends { ids: &[], pair: None }, |_| vec![1.0; VOCABULARY as usize]);
    let kept: Vec<&[u32]> = search.kept().iter().map(|hypothesis| hypothesis.tokens.as_slice()).collect();
    assert_eq!(kept, [[0, 0, 0], [0, 0, 1]]);
}

#[test]
fn where_nothing_can_follow_the_search_ends_with_fewer_hypotheses() {
    let asked = BeamSearch { width: 3, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
    let mut search = Beam::new(asked, SearchBounds { max_tokens: 9, end_ids: 1 });
    let only = vec![Candidate { id: 3, log_prob: -0.5, rank: 0 }];
    let mut texts = Texts { branches: vec![Vec::new()], ends: Ends { ids: &[3], pair: None } };
    assert!(search.advance(&[only], &mut texts).is_empty());
    assert_eq!((search.branches(), search.kept().len(), search.kept()[0].score), (0, 1, -0.5));
}
