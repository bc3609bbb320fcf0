//! Bytes that drawing and scoring must move.

use super::device::Profiled;
use super::profile::Op;
use crate::backend::{Backend, ChosenRows, OutputLayer, SamplingOps};
use crate::sampling::{BestAsk, Candidate, DrawRules, Draws, ScoreAsk, TokenScore};

impl<B: Backend> SamplingOps for Profiled<B> {
    fn sample(&self, logits: &Self::Activations, draws: Draws<'_>, out: &mut Self::Drawn) {
        let bytes = logits.bytes(draws.list.len()) + draws.rules.bytes();
        self.measure(Op::of("sample"), bytes, |inner| inner.sample(&logits.inner, draws, out));
    }

    fn choose(
        &self,
        x: &Self::Activations,
        output: OutputLayer<'_, Self::Matrix>,
        draws: Draws<'_>,
        to: ChosenRows<'_, Self::Activations, Self::Drawn>,
    ) {
        let OutputLayer { table, softcap } = output;
        // Logits are the backend's working memory here: how many it writes is its own affair.
        let bytes = table.choice_bytes + x.bytes(draws.list.len()) + draws.rules.bytes();
        let output = OutputLayer { table: &table.inner, softcap };
        let to = ChosenRows { logits: &mut to.logits.inner, ids: to.ids };
        self.measure(table.op("choose"), bytes, |inner| inner.choose(&x.inner, output, draws, to));
    }

    fn fetch(&self, drawn: &mut Self::Drawn) {
        self.inner.fetch(drawn);
    }

    fn take(&self, drawn: &mut Self::Drawn, out: &mut Vec<Option<u32>>) {
        self.inner.take(drawn, out);
    }

    fn score(&self, logits: &Self::Activations, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let bytes = logits.bytes(asked.len());
        self.measure_copy("score", bytes, |inner| inner.score(&logits.inner, asked, out));
    }

    fn best(&self, logits: &Self::Activations, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        let bytes = logits.bytes(asked.len()) + rules.bytes();
        self.measure_copy("best", bytes, |inner| inner.best(&logits.inner, asked, rules, out));
    }
}
