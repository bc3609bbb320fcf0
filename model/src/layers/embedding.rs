//! The embedding of a stack: `residual = table[tokens] * scale`.

use kernels::{Backend, DrawnRows, Lookup};

use crate::rows::RowTokens;

/// Weights of an embedding.
pub(crate) struct Embedding<B: Backend> {
    /// One row for each token id.
    pub table: B::Matrix,
    /// Factor of every row: `sqrt(hidden)`.
    pub scale: f32,
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
