//! Scores of the vocabulary for chosen rows of a step, and what is drawn or read from them.
//!
//! Called after [`Model::decode`] by the server's engine thread, and by tests.

use kernels::{Backend, Candidate, Draw};

use crate::t5gemma::Model;
use crate::workspace::Workspace;

impl<B: Backend> Model<B> {
    /// Computes the soft-capped logits of the given rows of the last step, in their order.
    pub fn logits(&self, rows: &[u32], space: &mut Workspace<B>) {
        assert!(rows.len() <= space.limits.logits_rows, "more logits are wanted than the workspace holds");
        self.backend.gather(&space.decoder.x, rows, &mut space.selected);
        let cap = self.config.decoder.final_softcap;
        self.backend.logits(&space.selected, self.weights.output_table(), cap, rows.len(), &mut space.logits);
    }

    /// Draws ids from the last logits (`None` where they are not numbers); `draws` count rows as [`Self::logits`] was given them.
    pub fn sample(&self, draws: &[Draw], space: &Workspace<B>, out: &mut Vec<Option<u32>>) {
        self.backend.sample(&space.logits, draws, &self.config.end_tokens, out);
    }

    /// Log-probability of `id` in a row of the last logits, and of the `top` best ids.
    pub fn log_probs(&self, row: usize, id: u32, top: usize, space: &Workspace<B>) -> (Candidate, Vec<Candidate>) {
        self.backend.log_probs(&space.logits, row, id, top)
    }

    /// The first `rows` rows of the last logits, `[rows, vocab]`.
    pub fn read_logits(&self, rows: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.logits, rows)
    }
}
