//! Logits of selected rows of a step, and the ids and log-probabilities that are drawn and read from them.
//!
//! Called by the server's engine thread after [`Model::decode`].

use kernels::{Backend, BestAsk, Candidate, ChosenRows, DrawRules, Draws, OutputLayer, ScoreAsk, TokenScore};

use crate::error::Result;
use crate::model::Model;
use crate::workspace::Workspace;

impl<B: Backend> Model<B> {
    /// Selects rows of the last step. The functions below number rows in this order.
    pub fn select(&self, rows: &[u32], space: &mut Workspace<B>) {
        assert!(rows.len() <= space.limits.logits_rows, "more logits are wanted than the workspace holds");
        self.backend.gather(&space.decoder.stack.x, rows, &mut space.selected);
    }

    /// Computes all soft-capped logits of the first `count` selected rows.
    pub fn logits(&self, count: usize, space: &mut Workspace<B>) {
        self.backend.logits(&space.selected, self.output_layer(), count, &mut space.logits);
    }

    /// Draws ids from computed logits; `None` where a row's logits are not numbers, or its rule leaves no id.
    pub fn sample(&self, draws: Draws<'_>, space: &Workspace<B>, out: &mut B::Drawn) {
        self.backend.sample(&space.logits, draws, out);
    }

    /// Draws the ids that [`Self::logits`] and [`Self::sample`] would draw, without computing all logits. Only for
    /// narrow draws ([`kernels::Sampling::is_narrow`]). Overwrites the logits of the rows that are drawn from, and no
    /// others.
    pub fn choose(&self, draws: Draws<'_>, space: &mut Workspace<B>, out: &mut B::Drawn) {
        let to = ChosenRows { logits: &mut space.logits, ids: out };
        self.backend.choose(&space.selected, self.output_layer(), draws, to);
    }

    fn output_layer(&self) -> OutputLayer<'_, B::Matrix> {
        OutputLayer { table: self.weights.tables.output(), softcap: self.config.decoder.final_softcap }
    }

    /// The best ids of rows of the last logits under rules, with their log-probabilities; one list for each row is
    /// appended to `out`.
    pub fn best(&self, asked: &[BestAsk], rules: &DrawRules, space: &Workspace<B>, out: &mut Vec<Vec<Candidate>>) {
        self.backend.best(&space.logits, asked, rules, out);
    }

    /// Whether [`Self::choose`] reads an 8-bit copy of the output table instead of the table.
    pub fn screens_output(&self) -> bool {
        let table = self.weights.tables.output();
        self.backend.choice_bytes(table) < self.backend.matrix_bytes(table)
    }

    /// A list with room for `capacity` drawn ids.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn drawn(&self, capacity: usize) -> Result<B::Drawn> {
        Ok(self.backend.drawn(capacity)?)
    }

    /// Reads log-probabilities from the last logits and appends them to `out`.
    pub fn score(&self, asked: &[ScoreAsk], space: &Workspace<B>, out: &mut Vec<TokenScore>) {
        self.backend.score(&space.logits, asked, out);
    }

    /// The first `rows` rows of the last logits, `[rows, vocab]`.
    pub fn read_logits(&self, rows: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.logits, rows)
    }
}
