//! UL2's denoisers: which part of a text is taken out of the source, and how the two are written.
//!
//! Used by `recipe`. R and X denoisers take spans out (Raffel et al., arXiv 1910.10683, section 3.1.4), each replaced
//! by a sentinel; S denoisers take the end.

use super::pieces::DenoisingPieces;
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
    /// Mean tokens of a span; `None` takes one span, at the end.
    mean_span: Option<f64>,
    /// Share of the tokens that is taken out.
    rate: f64,
    /// How often it is drawn, against the others.
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

/// T5Gemma 2, arXiv 2512.14856, section 3; there is no word of modes, these are the nearest.
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

/// How a text of known length is split; costs one draw, and no look at its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Put before the source.
    pub mode: Option<u32>,
    /// Tokens that are taken out.
    pub noise: usize,
    /// Spans that they make; 0 when they are the end of the text, without a sentinel.
    pub spans: usize,
    /// Whether there were fewer sentinels than the denoiser asks for spans.
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

    /// Draws a denoiser and how it splits a text of `len` tokens, at least 1.
    pub fn split(&self, len: usize, draws: &mut Draws) -> Split {
        let denoiser = self.draw(draws);
        let mode = self.pieces.modes.map(|modes| modes[denoiser.mode as usize]);
        let most = len.saturating_sub(1).max(1);
        let noise = ((len as f64 * denoiser.rate).round() as usize).clamp(1, most);
        // A single token has no place for a span beside it.
        let Some(mean_span) = denoiser.mean_span.filter(|_| len > 1) else {
            return Split { mode, ..Split::end(noise) };
        };
        let wanted = ((noise as f64 / mean_span).round() as usize).clamp(1, noise.min(len - noise));
        let spans = wanted.min(self.pieces.sentinels.len());
        Split { mode, noise, spans, is_short: spans < wanted }
    }

    /// The sentinels, in the order in which they stand for spans.
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
    /// The last `noise` tokens are taken out.
    pub fn end(noise: usize) -> Self {
        Self { mode: None, noise, spans: 0, is_short: false }
    }

    /// Whether an end token follows the target: after spans always, else where the text ends.
    pub fn is_ended(self, text_is_whole: bool) -> bool {
        self.spans > 0 || text_is_whole
    }

    /// The two sides of a text; the draws go on where the split left them.
    pub fn sides(self, text: &[u32], sentinels: &[u32], draws: &mut Draws) -> Sides {
        if self.spans == 0 {
            let (source, target) = text.split_at(text.len() - self.noise);
            return Sides { source: source.to_vec(), target: target.to_vec() };
        }
        let noise = parts(self.noise, self.spans, draws);
        let kept = parts(text.len() - self.noise, self.spans, draws);
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
        sides
    }
}

/// `total` as a sum of `count` numbers, none of them 0, each such sum equally often.
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
