//! Memory of a backend, and how numbers come and go: rows, weights, pages.
//!
//! Implemented by each backend.

use crate::error::Result;
use crate::paging::{KvFormat, PageShape};
use crate::rope::RopeSpec;
use crate::weights::{MatrixUse, WeightFormat, WeightPart};

/// Memory of a backend, and transfers between it and the host.
pub trait Storage {
    /// Rows of activations, `[capacity, width]`.
    type Activations: Send;
    /// A weight in the layout that products stream.
    type Matrix: Send;
    /// A vector of norm weights.
    type Gain: Send;
    /// Cosines and sines of every position.
    type RopeTable: Send;
    /// The page pool: keys and values of both attentions, for the layers of its shape.
    type Pages: Send;
    /// Ids that were drawn, where the device has them.
    type Drawn: Send;

    /// Bytes of one number of [`Self::activations`].
    fn number_bytes(&self) -> usize {
        4
    }

    /// Zeroed room for `rows` rows of `width` numbers. Memory is taken only as it is touched.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    fn activations(&self, rows: usize, width: usize) -> Result<Self::Activations>;

    /// Zeroed room for numbers that must not be rounded to the device's operand type: the residual stream and logits.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    fn wide_activations(&self, rows: usize, width: usize) -> Result<Self::Activations> {
        self.activations(rows, width)
    }

    /// Packs parts, one below the other, into one matrix `[sum of rows, cols]`. Lookup tables are not quantised.
    ///
    /// # Errors
    /// When the parts' bytes do not fit their shapes, or the backend has no memory for the matrix.
    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, usage: MatrixUse) -> Result<Self::Matrix>;

    /// Bytes that a product with a matrix reads.
    fn matrix_bytes(&self, matrix: &Self::Matrix) -> usize;

    /// Bytes that [`super::SamplingOps::choose`] reads at least of a table for [`MatrixUse::Output`].
    fn choice_bytes(&self, table: &Self::Matrix) -> usize;

    /// A norm's weight, `[width]`, stored zero-centred: the norm multiplies by `1 + w`.
    ///
    /// # Errors
    /// When the part's bytes do not fit its shape, or the backend has no memory for it.
    fn gain(&self, weight: &WeightPart<'_>) -> Result<Self::Gain>;

    /// Angles of positions below `positions`, in float32: pair `i` of a head is rotated by the position times
    /// [`RopeSpec::frequency`].
    ///
    /// # Errors
    /// When the backend has no memory for them.
    fn rope_table(&self, positions: usize, head_dim: usize, spec: RopeSpec) -> Result<Self::RopeTable>;

    /// A pool of pages, each with room for any of these formats.
    ///
    /// # Errors
    /// When the backend has no memory for it, or does not know a format.
    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Self::Pages>;

    /// Bytes of one page of such a pool.
    fn page_bytes(&self, shape: PageShape, formats: &[KvFormat]) -> usize;

    /// An empty list with room for `capacity` drawn ids.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    fn drawn(&self, capacity: usize) -> Result<Self::Drawn>;

    /// Writes rows from the host: `values` is `[rows, width]`.
    fn upload(&self, values: &[f32], into: &mut Self::Activations);

    /// Reads the first `rows` rows back to the host.
    fn download(&self, from: &Self::Activations, rows: usize) -> Vec<f32>;
}
