//! Drawing and scoring ids.

use crate::backend::{ChosenRows, Draws, OutputLayer, SamplingOps};
use crate::cpu::activations::Activations;
use crate::cpu::choose::Choose;
use crate::cpu::matrix::Matrix;
use crate::cpu::pool::{RowsMut, locked};
use crate::cpu::processor::Cpu;
use crate::cpu::product::Rows;
use crate::cpu::{sample, score};
use crate::sampling::{DrawnIds, ScoreAsk, TokenScore};

impl SamplingOps for Cpu {
    fn sample(&self, logits: &Activations, draws: Draws<'_>, out: &mut DrawnIds) {
        let Draws { draws, end_ids } = draws;
        let out = out.list();
        let first = out.len();
        out.resize(first + draws.len(), None);
        self.pool.split_rows(RowsMut { data: &mut out[first..], width: 1 }, draws.len(), 2, |share, out| {
            for (draw, out) in draws[share].iter().zip(out) {
                let row = draw.row as usize;
                *out = sample::choose(self.isa, logits.rows(row..row + 1), &draw.choice, end_ids);
            }
        });
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
        assert!(draws.draws.iter().all(|draw| draw.choice.is_narrow()), "other choices depend on every logit");
        let rows = draws.draws.iter().map(|draw| draw.row as usize);
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
}
