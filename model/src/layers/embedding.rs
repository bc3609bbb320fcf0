//! Embeddings: `residual = table[tokens] * scale`, and the tables of a model.

use kernels::{Backend, DrawnRows, Lookup, OwnRow};

use crate::rows::RowTokens;

/// Weights of an embedding.
pub(crate) struct Embedding<B: Backend> {
    /// One row for each token id.
    pub table: B::Matrix,
    /// Factor of every row: `sqrt(hidden)`.
    pub scale: f32,
    /// Row in place of one of the table's.
    pub own: Option<OwnEmbedding<B>>,
}

/// Embedding of one token that is not in the table, and not scaled.
pub(crate) struct OwnEmbedding<B: Backend> {
    pub id: u32,
    /// `[1, hidden]`.
    pub row: B::Matrix,
}

/// Embeddings and output table of an encoder-decoder.
pub(crate) struct Tables<B: Backend> {
    /// Embedding of the encoder.
    pub encoder: Embedding<B>,
    /// Embedding of the decoder where it is not the encoder's.
    pub decoder: Option<Embedding<B>>,
    /// The output table where it is not that of the decoder's embedding.
    pub output: Option<B::Matrix>,
}

impl<B: Backend> Embedding<B> {
    /// Writes the rows of the tokens, whether the host knows their ids or the device drew them.
    pub fn embed(&self, backend: &B, tokens: &RowTokens<'_, B::Drawn>, residual: &mut B::Activations) {
        let (RowTokens::Host(ids) | RowTokens::Drawn { host: ids, .. }) = tokens;
        let own = self.own.as_ref().map(|OwnEmbedding { id, row }| OwnRow { id: *id, row });
        let lookup = Lookup { table: &self.table, scale: self.scale, own };
        backend.embed(lookup, ids, residual);
        if let RowTokens::Drawn { drawn, places, .. } = tokens {
            backend.embed_drawn(lookup, DrawnRows { drawn, places }, residual);
        }
    }
}

impl<B: Backend> Tables<B> {
    /// Embedding of the decoder.
    pub fn decoder(&self) -> &Embedding<B> {
        self.decoder.as_ref().unwrap_or(&self.encoder)
    }

    /// The matrix of the logits.
    pub fn output(&self) -> &B::Matrix {
        self.output.as_ref().unwrap_or(&self.decoder().table)
    }
}
