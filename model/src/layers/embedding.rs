//! Embeddings: `residual = table[tokens] * scale`, and the tables of a model.

use kernels::{Backend, DrawnRows, Lookup};

use crate::rows::RowTokens;

/// Weights of an embedding.
pub(crate) struct Embedding<B: Backend> {
    /// One row for each token id.
    pub table: B::Matrix,
    /// Factor of every row: `sqrt(hidden)`.
    pub scale: f32,
}

/// Embeddings and output table of an encoder-decoder.
pub(crate) struct Tables<B: Backend> {
    /// Embedding of the encoder.
    pub encoder: Embedding<B>,
    /// Embedding of the decoder.
    pub decoder: Embedding<B>,
    /// The output table where it is not the decoder's own.
    pub output: Option<B::Matrix>,
}

impl<B: Backend> Embedding<B> {
    /// Writes the rows of the tokens, whether the host knows their ids or the device drew them.
    pub fn embed(&self, backend: &B, tokens: &RowTokens<'_, B::Drawn>, residual: &mut B::Activations) {
        let (RowTokens::Host(ids) | RowTokens::Drawn { host: ids, .. }) = tokens;
        let lookup = Lookup::new(&self.table, self.scale);
        backend.embed(lookup, ids, residual);
        if let RowTokens::Drawn { drawn, places, .. } = tokens {
            backend.embed_drawn(lookup, DrawnRows { drawn, places }, residual);
        }
    }
}

impl<B: Backend> Tables<B> {
    /// The matrix of the logits.
    pub fn output(&self) -> &B::Matrix {
        self.output.as_ref().unwrap_or(&self.decoder.table)
    }
}
