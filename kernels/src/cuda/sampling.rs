//! Drawing and scoring ids.

use super::activations::Activations;
use super::backend::Cuda;
use super::device::Device;
use super::matrix::Matrix;
use super::product::Multiplication;
use super::sample::Drawn;
use crate::backend::{ChosenRows, LinearRows, OutputLayer, SamplingOps};
use crate::sampling::{BestAsk, Candidate, DrawRules, Draws, ScoreAsk, TokenScore};

impl<D: Device> SamplingOps for Cuda<D> {
    fn sample(&self, logits: &Activations<D>, draws: Draws<'_>, out: &mut Drawn<D>) {
        self.draw(logits, draws, out);
    }

    fn choose(
        &self,
        x: &Activations<D>,
        output: OutputLayer<'_, Matrix<D>>,
        draws: Draws<'_>,
        to: ChosenRows<'_, Activations<D>, Drawn<D>>,
    ) {
        let rows = draws.list.iter().map(|draw| draw.row as usize);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else { return };
        let rows = LinearRows { from: first, to: first, count: last + 1 - first };
        let product = Multiplication { x, matrix: output.table.all(), rows, softcap: output.softcap };
        self.multiply(product, to.logits);
        self.draw(to.logits, draws, to.ids);
    }

    fn fetch(&self, drawn: &mut Drawn<D>) {
        self.fetch_drawn(drawn);
    }

    fn take(&self, drawn: &mut Drawn<D>, out: &mut Vec<Option<u32>>) {
        self.take_drawn(drawn, out);
    }

    fn score(&self, logits: &Activations<D>, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.score_rows(logits, asked, out);
    }

    fn best(&self, logits: &Activations<D>, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        self.list_best(logits, asked, rules, out);
    }
}
