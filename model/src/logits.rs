//! Scores of the vocabulary for chosen rows of a step, and what is drawn or read from them.
//!
//! Called after [`Model::decode`] by the server's engine thread, and by tests.

use kernels::{Backend, Draw, ScoreAsk, TokenScore};

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

    /// Log-probabilities read from the last logits; `asked` counts rows as [`Self::logits`] was given them.
    pub fn score(&self, asked: &[ScoreAsk], space: &Workspace<B>, out: &mut Vec<TokenScore>) {
        self.backend.score(&space.logits, asked, out);
    }

    /// The first `rows` rows of the last logits, `[rows, vocab]`.
    pub fn read_logits(&self, rows: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.logits, rows)
    }
}
