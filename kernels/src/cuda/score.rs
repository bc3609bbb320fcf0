//! Log-probabilities of rows of logits: sums and candidates from the device, logarithms and order here.
//!
//! Called by the backend in `cuda`. `score.cu` has the kernel.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::lock::locked;
use super::number::Number;
use super::sample::CHOOSER_BYTES;
use crate::sampling::{Candidate, ScoreAsk, TokenScore, best_first};

const THREADS: u32 = 512;
/// Words of `Answer` in `score.cu`.
const ANSWER_WORDS: usize = 6;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Score {
    logits: u64,
    asks: u64,
    answers: u64,
    best: u64,
    best_of_tiles: u64,
    pitch: u32,
    vocab: u32,
}

impl<D: Device> Cuda<D> {
    pub(super) fn answer(&self, logits: &Activations<D>, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let Some(last) = asked.iter().map(|ask| ask.row as usize).max() else { return };
        let vocab = logits.width;
        assert!(asked.iter().all(|ask| (ask.id as usize) < vocab), "the id is in the vocabulary");
        let tops: Vec<usize> = asked.iter().map(|ask| (ask.top as usize).min(vocab)).collect();
        let firsts = tops.iter().scan(0, |next, top| Some(std::mem::replace(next, *next + top)));
        let asks = asked.iter().zip(firsts.zip(&tops));
        let asks: Vec<u32> =
            asks.flat_map(|(ask, (first, &top))| [ask.row, ask.id, top as u32, first as u32]).collect();
        let answer_words = ANSWER_WORDS * asked.len();
        let words = answer_words + 2 * tops.iter().sum::<usize>();
        let [asks_at] = self.queue().lists([&asks]);
        let mut room = locked(&self.answers);
        room.grow(4 * words, "answers");
        let answers_at = room.at(0, 4 * words);
        let params = Score {
            logits: logits.rows(0, last + 1, Number::F32),
            asks: asks_at,
            answers: answers_at,
            best: answers_at + 4 * answer_words as u64,
            best_of_tiles: logits.best_of_all(),
            pitch: logits.pitch as u32,
            vocab: vocab as u32,
        };
        let blocks = Blocks::per_row(asked.len(), THREADS).with_shared(CHOOSER_BYTES);
        self.queue().launch("score", blocks, &params);
        let mut bytes = vec![0; 4 * words];
        self.queue().read(&room, 0, &mut bytes);
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let (answers, mut best) = words.split_at(answer_words);
        for ((ask, top), answer) in asked.iter().zip(tops).zip(answers.as_chunks().0) {
            let (own, rest) = best.split_at(2 * top);
            best = rest;
            out.push(token_score(ask, answer, own.as_chunks().0));
        }
    }
}

/// One answer: the sum of exponentials over the largest logit (two words), that logit, the asked one, its rank.
fn token_score(ask: &ScoreAsk, answer: &[u32; ANSWER_WORDS], best: &[[u32; 2]]) -> TokenScore {
    let [low, high, largest, logit, rank, _] = *answer;
    let sum = f64::from_bits(u64::from(low) | u64::from(high) << 32);
    let log_prob = |logit: f32| (f64::from(logit) - f64::from(f32::from_bits(largest)) - sum.ln()) as f32;
    let mut best: Vec<(u32, f32)> = best.iter().map(|&[id, logit]| (id, f32::from_bits(logit))).collect();
    best.sort_unstable_by(|&a, &b| best_first(a, b));
    let candidate = |(rank, (id, logit)): (u32, (u32, f32))| Candidate { id, log_prob: log_prob(logit), rank };
    TokenScore {
        chosen: candidate((rank, (ask.id, f32::from_bits(logit)))),
        top: (0..).zip(best).map(candidate).collect(),
    }
}
