//! Drawing and scoring ids.

use crate::backend::{ChosenRows, OutputLayer, SamplingOps};
use crate::cpu::activations::Activations;
use crate::cpu::choose::Choose;
use crate::cpu::matrix::Matrix;
use crate::cpu::pool::{RowsMut, locked};
use crate::cpu::processor::Cpu;
use crate::cpu::product::Rows;
use crate::cpu::sample::LogitRows;
use crate::cpu::score;
use crate::sampling::{BestAsk, Candidate, DrawRules, DrawnIds, Draws, ScoreAsk, TokenScore};

impl SamplingOps for Cpu {
    fn sample(&self, logits: &Activations, draws: Draws<'_>, out: &mut DrawnIds) {
        let (isa, pool, vocab) = (self.isa, &self.pool, logits.width);
        LogitRows { isa, pool, logits: &logits.data, vocab, first: 0 }.draw(draws, out.list());
    }

    fn choose(
        &self,
        x: &Activations,
        output: OutputLayer<'_, Matrix>,
        draws: Draws<'_>,
        to: ChosenRows<'_, Activations, DrawnIds>,
    ) {
        let (table, ChosenRows { logits, ids }) = (output.table, to);
        assert!(x.width == table.cols && logits.width == table.rows, "the rows are as wide as the table");
        assert!(draws.list.iter().all(|draw| draw.sampling.is_narrow()), "other draws depend on every logit");
        let rows = draws.list.iter().map(|draw| draw.row as usize);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else { return };
        let screen = table.screen.as_ref().expect("ids are chosen from a table for the output");
        let x = Rows { x: x.rows(first..last + 1), count: last + 1 - first };
        let choose = Choose { isa: self.isa, pool: &self.pool, x, first, output, draws };
        choose.run(screen, &mut locked(&self.screen_space), &mut logits.data[first * table.rows..], ids.list());
    }

    fn take(&self, drawn: &mut DrawnIds, out: &mut Vec<Option<u32>>) {
        drawn.take(out);
    }

    fn score(&self, logits: &Activations, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let first = out.len();
        out.resize_with(first + asked.len(), TokenScore::default);
        self.pool.split_rows(RowsMut { data: &mut out[first..], width: 1 }, asked.len(), 2, |share, out| {
            for (ask, out) in asked[share].iter().zip(out) {
                let row = ask.row as usize;
                *out = score::score(self.isa, logits.rows(row..row + 1), ask);
            }
        });
    }

    fn best(&self, logits: &Activations, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        let first = out.len();
        out.resize_with(first + asked.len(), Vec::new);
        self.pool.split_rows(RowsMut { data: &mut out[first..], width: 1 }, asked.len(), 2, |share, out| {
            for (ask, out) in asked[share].iter().zip(out) {
                let row = ask.row as usize;
                let logits = logits.rows(row..row + 1);
                *out = score::best(self.isa, logits, ask.count as usize, rules.of(ask.rule));
            }
        });
    }
}
