//! Log-probabilities of rows of logits: sums and candidates from the device, logarithms and order here.
//!
//! Called by the backend in `cuda`. `score.cu` has the kernels.

use bytemuck::{NoUninit, Pod, Zeroable};

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::lock::locked;
use super::rule::{LogitRows, NOTHING};
use super::sample::CHOOSER_BYTES;
use crate::sampling::{Candidate, IdLogit, ScoreAsk, TokenScore, best_first};

const THREADS: u32 = 512;

/// A question about a row: the place of an id among all, and the best ids of the row or of its copy under a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub row: u32,
    pub id: u32,
    pub top: u32,
    /// The copy's place, or [`NOTHING`].
    pub ruled: u32,
}

/// The device's answer to a question.
pub(super) struct Answer {
    pub sums: RowSums,
    /// The best ids with their logits, best first.
    pub best: Vec<IdLogit>,
}

/// `RowSums` in `select.cuh`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct RowSums {
    sum: f64,
    largest: f32,
    logit: f32,
    rank: u32,
    found: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Ask {
    row: u32,
    id: u32,
    top: u32,
    first: u32,
    ruled: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Score {
    rows: LogitRows,
    asks: u64,
    sums: u64,
    best: u64,
}

impl RowSums {
    /// Logarithm of the sum of exponentials; not finite where logits make no distribution.
    pub fn log_sum(&self) -> f64 {
        f64::from(self.largest) + self.sum.ln()
    }

    pub fn candidate(&self, IdLogit { id, logit }: IdLogit, rank: u32) -> Candidate {
        Candidate { id, log_prob: (f64::from(logit) - f64::from(self.largest) - self.sum.ln()) as f32, rank }
    }
}

impl<D: Device> Cuda<D> {
    pub(super) fn score_rows(&self, logits: &Activations<D>, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let question = |ask: &ScoreAsk| Question { row: ask.row, id: ask.id, top: ask.top, ruled: NOTHING };
        let questions: Vec<Question> = asked.iter().map(question).collect();
        let answers = self.answer(logits, &questions, None::<fn(LogitRows, u64) -> LogitRows>);
        out.extend(asked.iter().zip(answers).map(|(ask, Answer { sums, best })| TokenScore {
            chosen: sums.candidate(IdLogit { id: ask.id, logit: sums.logit }, sums.rank),
            top: (0..).zip(best).map(|(rank, pair)| sums.candidate(pair, rank)).collect(),
        }));
    }

    /// Answers questions about rows of logits. `copy` makes the copies that they name, from the rows and their sums.
    pub(super) fn answer(
        &self,
        logits: &Activations<D>,
        questions: &[Question],
        copy: Option<impl FnOnce(LogitRows, u64) -> LogitRows>,
    ) -> impl Iterator<Item = Answer> {
        let vocab = logits.width;
        assert!(questions.iter().all(|question| (question.id as usize) < vocab), "the id is in the vocabulary");
        let tops: Vec<usize> = questions.iter().map(|question| (question.top as usize).min(vocab)).collect();
        let firsts = tops.iter().scan(0, |next, top| Some(std::mem::replace(next, *next + top)));
        let ask = |((question, &top), first): ((&Question, &usize), usize)| {
            let Question { row, id, ruled, .. } = *question;
            Ask { row, id, top: top as u32, first: first as u32, ruled }
        };
        let asks: Vec<Ask> = questions.iter().zip(&tops).zip(firsts).map(ask).collect();
        let mut bytes = vec![0; questions.len() * size_of::<RowSums>() + 8 * tops.iter().sum::<usize>()];
        if !questions.is_empty() {
            self.ask(logits, &asks, copy, &mut bytes);
        }
        let (sums, best) = bytes.split_at(questions.len() * size_of::<RowSums>());
        let sums: Vec<RowSums> = sums.chunks_exact(size_of::<RowSums>()).map(bytemuck::pod_read_unaligned).collect();
        let mut best: Vec<[u32; 2]> = best.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        sums.into_iter().zip(tops).map(move |(sums, top)| {
            let rest = best.split_off(top);
            let own = std::mem::replace(&mut best, rest);
            let pair = |[id, logit]: [u32; 2]| IdLogit { id, logit: f32::from_bits(logit) };
            let mut best: Vec<IdLogit> = own.into_iter().map(pair).collect();
            best.sort_unstable_by(best_first);
            Answer { sums, best }
        })
    }

    /// Launches the kernels and reads their answers: sums of all questions, then their best ids.
    fn ask(
        &self,
        logits: &Activations<D>,
        asks: &[Ask],
        copy: Option<impl FnOnce(LogitRows, u64) -> LogitRows>,
        bytes: &mut [u8],
    ) {
        let rows = asks.iter().map(|ask| ask.row as usize + 1).max().unwrap_or(0);
        let [listed] = self.queue().lists([bytemuck::cast_slice(asks)]);
        let mut room = locked(&self.answers);
        room.grow(bytes.len(), "answers");
        let sums = room.at(0, bytes.len());
        let best = sums + (asks.len() * size_of::<RowSums>()) as u64;
        let score = Score { rows: LogitRows::new(logits, rows), asks: listed, sums, best };
        let blocks = Blocks::per_row(asks.len(), THREADS).with_shared(CHOOSER_BYTES);
        self.queue().launch("score", blocks, &score);
        if let Some(copy) = copy {
            let rows = copy(score.rows, sums);
            // The lists of the rules took the place of the questions.
            let [asks] = self.queue().lists([bytemuck::cast_slice(asks)]);
            self.queue().launch("list_best_ruled", blocks, &Score { rows, asks, ..score });
        }
        self.queue().read(&room, 0, bytes);
    }
}
