//! Scores of the vocabulary for chosen rows of a step, and what is drawn or read from them.
//!
//! Called after [`Model::decode`] by the server's engine thread, and by tests.

use kernels::{Backend, Draw, Output, ScoreAsk, TokenScore};

use crate::error::Result;
use crate::model::Model;
use crate::workspace::Workspace;

impl<B: Backend> Model<B> {
    /// Takes the given rows of the last step; the functions below count rows in this order.
    pub fn select(&self, rows: &[u32], space: &mut Workspace<B>) {
        assert!(rows.len() <= space.limits.logits_rows, "more logits are wanted than the workspace holds");
        self.backend.gather(&space.decoder.stack.x, rows, &mut space.selected);
    }

    /// Computes all soft-capped logits of the first `count` selected rows.
    pub fn logits(&self, count: usize, space: &mut Workspace<B>) {
        let cap = self.config.decoder.final_softcap;
        self.backend.logits(&space.selected, self.weights.output_table(), cap, count, &mut space.logits);
    }

    /// Draws ids from logits that were computed (`None` where they are not numbers).
    pub fn sample(&self, draws: &[Draw], space: &Workspace<B>, out: &mut B::Drawn) {
        self.backend.sample(&space.logits, draws, &self.config.end_tokens, out);
    }

    /// Draws the same ids from selected rows whose logits were not computed, for narrow draws
    /// ([`kernels::Choice::is_narrow`]). Overwrites logits of the rows that are drawn from, and of no others.
    pub fn choose(&self, draws: &[Draw], space: &mut Workspace<B>, out: &mut B::Drawn) {
        let softcap = self.config.decoder.final_softcap;
        let output = Output { table: self.weights.output_table(), softcap, end_ids: &self.config.end_tokens };
        self.backend.choose(&space.selected, output, draws, &mut space.logits, out);
    }

    /// Whether [`Self::choose`] reads a smaller copy of the output table instead of all of it.
    pub fn screens_output(&self) -> bool {
        let table = self.weights.output_table();
        self.backend.choice_bytes(table) < self.backend.matrix_bytes(table)
    }

    /// Room for so many drawn ids.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn drawn(&self, capacity: usize) -> Result<B::Drawn> {
        Ok(self.backend.drawn(capacity)?)
    }

    /// Log-probabilities read from the last logits; `asked` counts rows as they were selected.
    pub fn score(&self, asked: &[ScoreAsk], space: &Workspace<B>, out: &mut Vec<TokenScore>) {
        self.backend.score(&space.logits, asked, out);
    }

    /// The first `rows` rows of the last logits, `[rows, vocab]`.
    pub fn read_logits(&self, rows: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.logits, rows)
    }
}
