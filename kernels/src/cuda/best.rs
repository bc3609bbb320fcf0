//! The best ids of rows of logits under rules: found on the device, put in order here.
//!
//! Called by the backend in `cuda`. The kernels are those of `score.cu`: a row's sums come first, since rules act on
//! log-probabilities.

use super::activations::Activations;
use super::backend::Cuda;
use super::device::Device;
use super::rule::{NOTHING, RuledRows};
use super::score::Question;
use crate::sampling::{BestAsk, Candidate, DrawRules};

impl<D: Device> Cuda<D> {
    pub(super) fn list_best(
        &self,
        logits: &Activations<D>,
        asked: &[BestAsk],
        rules: &DrawRules,
        out: &mut Vec<Vec<Candidate>>,
    ) {
        let mut copied = RuledRows::new(rules);
        let question = |(place, ask): (usize, &BestAsk)| {
            let rule = ask.rule.filter(|_| !rules.of(ask.rule).is_free());
            let ruled = rule.map_or(NOTHING, |rule| copied.add(ask.row, rule, place as u32));
            Question { row: ask.row, id: 0, top: ask.count, ruled }
        };
        let questions: Vec<Question> = asked.iter().enumerate().map(question).collect();
        let copy = |rows, sums| self.apply_rules(logits, rows, &copied, sums);
        let answers = self.answer(logits, &questions, (!copied.is_empty()).then_some(copy));
        out.extend(answers.map(|answer| {
            let has_log_probs = answer.sums.log_sum().is_finite();
            let found = answer.best.into_iter().filter(|pair| has_log_probs && pair.logit > f32::NEG_INFINITY);
            (0..).zip(found).map(|(rank, pair)| answer.sums.candidate(pair, rank)).collect()
        }));
    }
}
