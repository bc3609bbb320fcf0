//! UL2's denoisers: they remove part of a text from the source, and the target is that part.
//!
//! Used by `recipe`. R and X denoisers remove spans (Raffel et al., arXiv 1910.10683, section 3.1.4), each replaced by
//! a sentinel; S denoisers remove the end. Unlike in T5's own code, a text need not end with a span: a long span of a
//! short text would always be its end.

use super::pieces::DenoisingPieces;
use crate::config::DenoisingTokens;
use crate::training::draws::Draws;
use crate::training::settings::DenoiserMix;

/// The mode token of a denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Regular,
    Extreme,
    Sequential,
}

/// One denoiser of a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Denoiser {
    mode: Mode,
    /// Mean number of tokens in a span; `None` is one span, at the end.
    mean_span: Option<f64>,
    /// Share of the tokens that is removed.
    rate: f64,
    /// Relative frequency among the denoisers of the mixture.
    weight: usize,
}

const fn spans(mode: Mode, mean_span: f64, rate: f64) -> Denoiser {
    Denoiser { mode, mean_span: Some(mean_span), rate, weight: 1 }
}

const fn end(rate: f64, weight: usize) -> Denoiser {
    Denoiser { mode: Mode::Sequential, mean_span: None, rate, weight }
}

/// Tay et al., arXiv 2205.05131, table 1.
const UL2: [Denoiser; 7] = [
    spans(Mode::Regular, 3.0, 0.15),
    spans(Mode::Regular, 8.0, 0.15),
    end(0.25, 1),
    spans(Mode::Extreme, 3.0, 0.5),
    spans(Mode::Extreme, 8.0, 0.5),
    spans(Mode::Extreme, 64.0, 0.15),
    spans(Mode::Extreme, 64.0, 0.5),
];

/// T5Gemma 2, arXiv 2512.14856, section 3. It does not mention modes; these are the nearest.
const T5GEMMA2: [Denoiser; 5] = [
    spans(Mode::Regular, 3.0, 0.15),
    spans(Mode::Extreme, 12.0, 0.5),
    spans(Mode::Extreme, 32.0, 0.15),
    spans(Mode::Extreme, 32.0, 0.5),
    end(0.75, 4),
];

/// A mixture with its pieces.
#[derive(Debug, Clone)]
pub(super) struct Denoising {
    mix: DenoiserMix,
    pieces: DenoisingPieces,
}

/// Split of a text of known length, drawn without reading its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Mode token, put before the source.
    pub mode: Option<u32>,
    /// Number of tokens that are removed.
    pub noise: usize,
    /// Number of spans that they form; 0 if they are the end of the text, without a sentinel.
    pub spans: usize,
    /// Whether there were fewer sentinels than the denoiser wanted spans.
    pub is_short: bool,
}

/// The two sides of a text, without start, mode and end tokens.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sides {
    pub source: Vec<u32>,
    pub target: Vec<u32>,
}

impl Denoising {
    pub fn new(mix: DenoiserMix, pieces: DenoisingPieces) -> Self {
        Self { mix, pieces }
    }

    /// Draws a denoiser and its split of a text of `len` tokens, at least 1.
    pub fn split(&self, len: usize, draws: &mut Draws) -> Split {
        let denoiser = self.draw(draws);
        let mode = self.pieces.modes.map(|modes| modes[denoiser.mode as usize]);
        let most = len.saturating_sub(1).max(1);
        let noise = ((len as f64 * denoiser.rate).round() as usize).clamp(1, most);
        // A single token leaves no room for a span beside it.
        let Some(mean_span) = denoiser.mean_span.filter(|_| len > 1) else {
            return Split { mode, ..Split::end(noise) };
        };
        let wanted = ((noise as f64 / mean_span).round() as usize).clamp(1, noise.min(len - noise));
        let spans = wanted.min(self.pieces.sentinels.len());
        Split { mode, noise, spans, is_short: spans < wanted }
    }

    /// The tokens by which the trained model is asked for a span.
    pub fn tokens(&self) -> DenoisingTokens {
        self.pieces.tokens()
    }

    /// The sentinels, in the order in which they replace spans.
    pub fn sentinels(&self) -> &[u32] {
        &self.pieces.sentinels
    }

    fn draw(&self, draws: &mut Draws) -> Denoiser {
        let denoisers: &[Denoiser] = match self.mix {
            DenoiserMix::Ul2 => &UL2,
            DenoiserMix::T5gemma2 => &T5GEMMA2,
        };
        let mut left = draws.below(denoisers.iter().map(|denoiser| denoiser.weight).sum());
        for &denoiser in denoisers {
            if left < denoiser.weight {
                return denoiser;
            }
            left -= denoiser.weight;
        }
        unreachable!("what is drawn lies below the sum of the weights")
    }
}

impl Split {
    /// Removes the last `noise` tokens.
    pub fn end(noise: usize) -> Self {
        Self { mode: None, noise, spans: 0, is_short: false }
    }

    /// Whether an end token follows the target: always after spans, otherwise if the text ends there.
    pub fn is_ended(self, text_is_whole: bool) -> bool {
        self.spans > 0 || text_is_whole
    }

    /// The two sides of a text. Draws continue from those of the split.
    pub fn sides(self, text: &[u32], sentinels: &[u32], draws: &mut Draws) -> Sides {
        if self.spans == 0 {
            let (source, target) = text.split_at(text.len() - self.noise);
            return Sides { source: source.to_vec(), target: target.to_vec() };
        }
        let noise = parts(self.noise, self.spans, draws);
        // At least one token is kept between two spans; before the first and after the last there may be none.
        let mut kept = parts(text.len() - self.noise + 2, self.spans + 1, draws);
        kept[0] -= 1;
        let mut sides = Sides::default();
        let mut rest = text;
        for ((kept, noise), &sentinel) in kept.into_iter().zip(noise).zip(sentinels) {
            let (before, after) = rest.split_at(kept);
            let (span, after) = after.split_at(noise);
            sides.source.extend_from_slice(before);
            sides.source.push(sentinel);
            sides.target.push(sentinel);
            sides.target.extend_from_slice(span);
            rest = after;
        }
        sides.source.extend_from_slice(rest);
        sides
    }
}

/// Draws `count` numbers, none of them 0, with the sum `total`; each such sequence is equally likely.
fn parts(total: usize, count: usize, draws: &mut Draws) -> Vec<usize> {
    let mut parts = vec![1];
    for cut in draws.choose(count - 1, total - 1) {
        match parts.last_mut() {
            Some(part) if !cut => *part += 1,
            _ => parts.push(1),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::infilling::Infilling;
    use crate::training::draws::Purpose;

    const FIRST_SENTINEL: u32 = 10_000;

    fn denoising(mix: DenoiserMix, sentinels: u32) -> Denoising {
        let sentinels = (FIRST_SENTINEL..FIRST_SENTINEL + sentinels).collect();
        Denoising::new(mix, DenoisingPieces { sentinels, modes: Some([7, 8, 9]) })
    }

    fn draws(index: u64) -> Draws {
        Draws::new(5, Purpose::Denoising, 0, index)
    }

    /// Parts of a side: the tokens before the first sentinel, and those after each.
    fn parts_of(side: &[u32]) -> Vec<Vec<u32>> {
        let mut parts = vec![Vec::new()];
        for &id in side {
            if id >= FIRST_SENTINEL {
                assert_eq!(id, FIRST_SENTINEL + parts.len() as u32 - 1, "sentinels in their order");
                parts.push(Vec::new());
            } else {
                parts.last_mut().unwrap().push(id);
            }
        }
        parts
    }

    /// Restores the text from its two sides.
    fn joined(sides: &Sides, spans: usize) -> Vec<u32> {
        if spans == 0 {
            return [&sides.source[..], &sides.target].concat();
        }
        let (source, target) = (parts_of(&sides.source), parts_of(&sides.target));
        assert_eq!((source.len(), target.len()), (spans + 1, spans + 1));
        assert!(target[0].is_empty(), "a target begins with a sentinel");
        source
            .iter()
            .zip(target[1..].iter().chain([&Vec::new()]))
            .flat_map(|pair| [&pair.0[..], pair.1].concat())
            .collect()
    }

    #[test]
    fn a_text_with_one_span_is_what_infilling_asks_for() {
        let split = Split { mode: Some(7), noise: 3, spans: 1, is_short: false };
        let text: Vec<u32> = (100..110).collect();
        let denoising = denoising(DenoiserMix::Ul2, 2);
        let DenoisingTokens { sentinels, mode } = denoising.tokens();
        assert_eq!(mode, split.mode, "short spans are those of R denoisers");
        let sides = split.sides(&text, denoising.sentinels(), &mut draws(3));
        let (source, target) = (parts_of(&sides.source), parts_of(&sides.target));
        let infilling = Infilling::with(sentinels, mode).unwrap();
        assert_eq!(infilling.source(&source[0], &source[1]), [mode.as_slice(), &sides.source].concat());
        assert_eq!(sides.target, [&[infilling.first()][..], &target[1]].concat());
    }

    fn mixes() -> impl Strategy<Value = DenoiserMix> {
        prop_oneof![Just(DenoiserMix::Ul2), Just(DenoiserMix::T5gemma2)]
    }

    proptest! {
        #[test]
        fn denoising_loses_no_token(mix in mixes(), len in 1_usize..700, sentinels in 1_u32..100, index: u64) {
            let (denoising, text) = (denoising(mix, sentinels), (0..len as u32).collect::<Vec<_>>());
            let mut draws = draws(index);
            let split = denoising.split(len, &mut draws);
            let sides = split.sides(&text, denoising.sentinels(), &mut draws);
            prop_assert_eq!(joined(&sides, split.spans), text);
            prop_assert_eq!(sides.source.len(), len - split.noise + split.spans);
            prop_assert_eq!(sides.target.len(), split.noise + split.spans);
        }

        #[test]
        fn as_many_tokens_are_taken_out_as_the_denoiser_says(len in 2_usize..5000, index: u64, sentinels in 1_u32..9) {
            let rates = BTreeMap::from([(7, vec![0.15]), (8, vec![0.15, 0.5]), (9, vec![0.25])]);
            let split = denoising(DenoiserMix::Ul2, sentinels).split(len, &mut draws(index));
            let is_near = |rate: &f64| (split.noise as f64 - len as f64 * rate).abs() <= 0.5 || split.noise == 1;
            prop_assert!(rates[&split.mode.unwrap()].iter().any(is_near), "{:?} of {}", split, len);
            prop_assert!((1..len).contains(&split.noise));
        }
    }

    /// Counts how often each number of tokens and spans is drawn for texts of a thousand tokens.
    fn counts(mix: DenoiserMix, sentinels: u32) -> BTreeMap<(u32, usize, usize, bool), usize> {
        let denoising = denoising(mix, sentinels);
        let mut counts = BTreeMap::new();
        for index in 0..8000 {
            let split = denoising.split(1000, &mut draws(index));
            *counts.entry((split.mode.unwrap(), split.noise, split.spans, split.is_short)).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn the_seven_denoisers_of_ul2_are_drawn_equally_often() {
        let counts = counts(DenoiserMix::Ul2, 200);
        let kinds: Vec<_> = counts.keys().map(|&(mode, noise, spans, _)| (mode, noise, spans)).collect();
        let all = [(7, 150, 19), (7, 150, 50), (8, 150, 2), (8, 500, 8), (8, 500, 63), (8, 500, 167), (9, 250, 0)];
        assert_eq!(kinds, all);
        assert!(counts.values().all(|count| (1000..1290).contains(count)), "{counts:?}");
        assert!(counts.keys().all(|kind| !kind.3));
    }

    #[test]
    fn the_mix_of_t5gemma2_continues_every_other_text_from_its_first_quarter() {
        let counts = counts(DenoiserMix::T5gemma2, 200);
        let kinds: Vec<_> = counts.keys().map(|&(mode, noise, spans, _)| (mode, noise, spans)).collect();
        assert_eq!(kinds, [(7, 150, 50), (8, 150, 5), (8, 500, 16), (8, 500, 42), (9, 750, 0)]);
        let (last, others): (Vec<_>, Vec<_>) = counts.iter().partition(|(kind, _)| kind.0 == 9);
        assert!((3800..4200).contains(last[0].1) && others.iter().all(|(_, count)| (880..1120).contains(*count)));
    }

    #[test]
    fn with_too_few_sentinels_the_same_share_goes_into_fewer_and_longer_spans() {
        let counts = counts(DenoiserMix::Ul2, 10);
        let kinds: Vec<_> = counts.into_keys().collect();
        let rich = [(8, 150, 2, false), (8, 500, 8, false), (8, 500, 10, true), (9, 250, 0, false)];
        assert_eq!(kinds[0], (7, 150, 10, true));
        assert_eq!(kinds[1..], rich);
    }

    #[test]
    fn spans_lie_anywhere_and_differ_in_length() {
        let text: Vec<u32> = (0..100).collect();
        let split = Split { mode: None, noise: 30, spans: 10, is_short: false };
        let sentinels: Vec<u32> = (FIRST_SENTINEL..FIRST_SENTINEL + 10).collect();
        let mut lengths = [0; 100];
        let mut taken = [0; 100];
        for index in 0..500 {
            let sides = split.sides(&text, &sentinels, &mut draws(index));
            for span in &parts_of(&sides.target)[1..] {
                lengths[span.len()] += 1;
                span.iter().for_each(|&id| taken[id as usize] += 1);
            }
        }
        let mean = lengths.iter().enumerate().map(|(length, count)| length * count).sum::<usize>() as f64 / 5000.0;
        assert_eq!((mean, lengths[0]), (3.0, 0));
        assert!(lengths[1..9].iter().all(|&count| count > 10), "{lengths:?}");
        assert!(taken.iter().all(|&count| (60..300).contains(&count)), "{taken:?}");
    }

    #[test]
    fn a_text_of_one_or_two_tokens_is_denoised_too() {
        for index in 0..50 {
            let denoising = denoising(DenoiserMix::Ul2, 4);
            let one = denoising.split(1, &mut draws(index));
            assert_eq!((one.noise, one.spans), (1, 0));
            let two = denoising.split(2, &mut draws(index));
            assert!(two.noise == 1 && two.spans <= 1);
        }
    }
}
