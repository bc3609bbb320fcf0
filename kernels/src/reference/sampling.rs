//! Choosing ids as [`crate::sampling`] defines it, and log-probabilities in double precision.

use super::activations::Activations;
use super::device::Reference;
use super::matrix::Matrix;
use crate::backend::{ChosenRows, OutputLayer, ProductOps, SamplingOps};
use crate::sampling::{
    BestAsk, Candidate, DrawRules, DrawnIds, Draws, IdLogit, ScoreAsk, TokenScore, best, best_first, choose,
};

impl SamplingOps for Reference {
    fn sample(&self, logits: &Activations, draws: Draws<'_>, out: &mut DrawnIds) {
        let ids = draws.list.iter().map(|draw| choose(logits.row(draw.row as usize), draw, draws.rule(draw)));
        out.list().extend(ids);
    }

    fn choose(
        &self,
        x: &Activations,
        output: OutputLayer<'_, Matrix>,
        draws: Draws<'_>,
        to: ChosenRows<'_, Activations, DrawnIds>,
    ) {
        let rows = draws.list.iter().map(|draw| draw.row as usize + 1).max().unwrap_or(0);
        self.logits(x, output, rows, to.logits);
        self.sample(to.logits, draws, to.ids);
    }

    fn take(&self, drawn: &mut DrawnIds, out: &mut Vec<Option<u32>>) {
        drawn.take(out);
    }

    fn score(&self, logits: &Activations, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        out.extend(asked.iter().map(|ask| score(logits.row(ask.row as usize), ask)));
    }

    fn best(&self, logits: &Activations, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        let best = |ask: &BestAsk| best(logits.row(ask.row as usize), ask.count as usize, rules.of(ask.rule));
        out.extend(asked.iter().map(best));
    }
}

/// Log-softmax of a row at an id and at the best ids.
fn score(logits: &[f32], ask: &ScoreAsk) -> TokenScore {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    // Not a number where a logit is not one, or where the largest is infinite.
    let log_sum = largest + logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum::<f64>().ln();
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let pair = |id: u32| IdLogit { id, logit: logits[id as usize] };
    order.sort_by(|&a, &b| best_first(&pair(a), &pair(b)));
    let candidate = |rank: usize| {
        let log_prob = (f64::from(logits[order[rank] as usize]) - log_sum) as f32;
        Candidate { id: order[rank], log_prob, rank: rank as u32 }
    };
    let own = order.iter().position(|&other| other == ask.id).expect("the id is in the vocabulary");
    let top = (0..(ask.top as usize).min(order.len())).map(candidate).collect();
    TokenScore { chosen: candidate(own), top }
}
