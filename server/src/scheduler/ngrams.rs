//! Tokens that followed each run of tokens in a target: ids with which an n-gram would come again.
//!
//! Used by `history`. A token costs the same however long the runs are: their hash rolls on. Clones share what they
//! have in common, so that a beam search copies no target.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use super::history::TargetTokens;

/// Tokens that followed each run of so many tokens.
#[derive(Debug, Clone)]
pub struct Ngrams {
    /// Number of tokens of a run.
    run: usize,
    /// The power that a token's id has as its factor when the token leaves a run.
    leaving: RunHash,
    /// The last tokens that were read, at most a run of them.
    window: RunHash,
    /// Ascending lists without repetition, each more than twice as long as the next.
    lists: Vec<Arc<[Follower]>>,
    /// The latest ones, in the order in which they came.
    latest: Vec<Follower>,
}

/// A token that followed a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Follower {
    after: RunHash,
    token: u32,
}

/// Number of followers that are looked through one by one.
const LATEST: usize = 32;

impl Ngrams {
    /// An empty target's, for runs of at least one token.
    pub fn new(run: usize) -> Self {
        let leaving = RunHash::power(run);
        Self { run, leaving, window: RunHash::default(), lists: Vec::new(), latest: Vec::new() }
    }

    /// Reads the token at a position. Those before it were read.
    pub fn read(&mut self, target: TargetTokens<'_>, position: usize) {
        let token = target.at(position);
        let is_whole = position >= self.run;
        if is_whole {
            self.latest.push(Follower { after: self.window, token });
            if self.latest.len() == LATEST {
                self.put_away();
            }
        }
        self.window = self.window.then(token);
        if is_whole {
            self.window = self.window.without(target.at(position - self.run), self.leaving);
        }
    }

    /// Appends the tokens that followed the last run of the target earlier, each at least once.
    pub fn followers(&self, out: &mut Vec<u32>) {
        let latest = self.latest.iter().filter(|one| one.after == self.window);
        out.extend(latest.map(|one| one.token));
        for list in &self.lists {
            let first = list.partition_point(|one| one.after < self.window);
            out.extend(list[first..].iter().take_while(|one| one.after == self.window).map(|one| one.token));
        }
    }

    /// Moves the latest ones into a list, which takes up lists that are not much longer: there are few of them, and
    /// each follower is moved a few times only.
    fn put_away(&mut self) {
        let mut list = std::mem::take(&mut self.latest);
        list.sort_unstable();
        list.dedup();
        while let Some(before) = self.lists.pop_if(|before| before.len() <= 2 * list.len()) {
            list = merge(&before, &list);
        }
        self.lists.push(list.into());
    }
}

/// Both lists as one, ascending and without repetition as they are.
fn merge(a: &[Follower], b: &[Follower]) -> Vec<Follower> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut all = Vec::with_capacity(a.len() + b.len());
    while let (Some(one), Some(other)) = (a.peek(), b.peek()) {
        let order = one.cmp(other);
        let first = if order == Ordering::Greater { b.next() } else { a.next() };
        if order == Ordering::Equal {
            b.next();
        }
        all.extend(first);
    }
    all.extend(a.chain(b));
    all
}

/// The order of the field of a hash: a Mersenne prime.
const PRIME: u64 = (1 << 61) - 1;

/// Points at which polynomials are evaluated, other ones in each process: nobody can write tokens for which two runs
/// have one hash.
static POINTS: LazyLock<[u64; 2]> = LazyLock::new(|| [0, 1].map(|index| RandomState::new().hash_one(index) % PRIME));

/// Hash of a run of tokens: the polynomial with their ids as coefficients, at two secret points. Runs of `n` tokens
/// that differ have the same hash with a probability of `(n / 2^61)^2`, which is less than `2^-100`, so equal
/// hashes are taken for equal runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct RunHash([u64; 2]);

impl RunHash {
    /// The points to the power of `exponent`.
    fn power(exponent: usize) -> Self {
        Self((0..exponent).fold([1, 1], |power, _| std::array::from_fn(|lane| times(power[lane], POINTS[lane]))))
    }

    /// With one more token at the end.
    fn then(self, token: u32) -> Self {
        Self(std::array::from_fn(|lane| plus(times(self.0[lane], POINTS[lane]), token.into())))
    }

    /// Without the first token; `leaving` is the power that its id is multiplied with.
    fn without(self, token: u32, leaving: Self) -> Self {
        Self(std::array::from_fn(|lane| plus(self.0[lane], PRIME - times(token.into(), leaving.0[lane]))))
    }
}

/// The sum of two numbers of the field; each may be [`PRIME`] itself.
const fn plus(a: u64, b: u64) -> u64 {
    (a + b) % PRIME
}

/// The product of two numbers of the field.
const fn times(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    plus((product & PRIME as u128) as u64, (product >> 61) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that followed the last run of a text earlier.
    fn plain(text: &[u32], run: usize) -> Vec<u32> {
        let last = &text[text.len().saturating_sub(run)..];
        let mut found: Vec<u32> =
            text.windows(run + 1).filter(|window| window[..run] == *last).map(|window| window[run]).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn found(ngrams: &Ngrams) -> Vec<u32> {
        let mut found = Vec::new();
        ngrams.followers(&mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// A text over few ids that repeats earlier parts of itself.
    fn text(mut seed: u64, length: usize) -> Vec<u32> {
        let mut text = vec![0];
        while text.len() < length {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (from, count) = ((seed >> 33) as usize % text.len(), (seed >> 20) as usize % 90);
            let part = text[from..text.len().min(from + count)].to_vec();
            text.extend(part);
            text.push((seed >> 50) as u32 % 4);
        }
        text.truncate(length);
        text
    }

    #[test]
    fn followers_are_those_of_the_definition_in_texts_that_repeat_themselves_and_part() {
        for run in [1, 2, 3, 7, 40, 300] {
            for seed in 0..4 {
                let text = text(seed, 700);
                let mut ngrams = Ngrams::new(run);
                let mut parted = None;
                for position in 0..text.len() {
                    let target = TargetTokens { start: text[0], prompt: &text[1..300], generated: &text[300..] };
                    ngrams.read(target, position);
                    assert_eq!(found(&ngrams), plain(&text[..=position], run), "{run}, {seed}, {position}");
                    if position == 500 {
                        parted = Some(ngrams.clone());
                    }
                }
                // Another line goes on from where the first one was, and neither sees what the other reads.
                let mut ngrams = parted.unwrap();
                let other: Vec<u32> = text[..=500].iter().chain(&text[200..400]).copied().collect();
                for position in 501..other.len() {
                    let target = TargetTokens { start: other[0], prompt: &[], generated: &other[1..] };
                    ngrams.read(target, position);
                    assert_eq!(
                        found(&ngrams),
                        plain(&other[..=position], run),
                        "{run}, {seed}, {position} of the other"
                    );
                }
            }
        }
    }

    #[test]
    fn a_follower_that_comes_again_and_again_is_kept_once() {
        let text = vec![7; 5000];
        let target = TargetTokens { start: 7, prompt: &text, generated: &[] };
        let mut ngrams = Ngrams::new(200);
        (0..target.len()).for_each(|position| ngrams.read(target, position));
        let kept: usize = ngrams.lists.iter().map(|list| list.len()).sum();
        assert!(kept < 20 && ngrams.latest.len() < LATEST, "{kept}");
        assert_eq!(found(&ngrams), [7]);
    }

    #[test]
    fn long_texts_have_few_lists_and_clones_share_them() {
        let text: Vec<u32> = (0..20_000).collect();
        let target = TargetTokens { start: 0, prompt: &text, generated: &[] };
        let mut ngrams = Ngrams::new(3);
        (0..target.len()).for_each(|position| ngrams.read(target, position));
        assert!(ngrams.lists.len() < 16, "{}", ngrams.lists.len());
        let clone = ngrams.clone();
        assert!(ngrams.lists.iter().zip(&clone.lists).all(|(own, other)| Arc::ptr_eq(own, other)));
    }

    #[test]
    fn the_arithmetic_is_that_of_the_field() {
        assert_eq!(times(PRIME - 1, PRIME - 1), 1);
        assert_eq!(times(1 << 60, 4), 2);
        assert_eq!(plus(PRIME - 1, 5), 4);
        assert_eq!(RunHash([5, 9]).then(3).without(3, RunHash([1, 1])), RunHash([5, 9]).then(0));
    }
}
