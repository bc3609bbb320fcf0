//! Memory of the measured backend: rows, matrices and pages with their sizes, and the cost of copies.

use super::device::Profiled;
use crate::backend::{Backend, Storage};
use crate::error::Result;
use crate::paging::{KvFormat, PageShape};
use crate::rope::RopeSpec;
use crate::weights::{MatrixUse, WeightFormat, WeightPart};

/// Bytes of a number that is float32 on every device: of the host, of gains and of angles.
pub(super) const FLOAT_BYTES: usize = 4;

/// Rows and how wide they are.
pub struct ProfiledRows<Rows> {
    pub(super) inner: Rows,
    pub(super) width: usize,
    number_bytes: usize,
}

/// A matrix and its size.
pub struct ProfiledMatrix<Matrix> {
    pub(super) inner: Matrix,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) bytes: usize,
    pub(super) choice_bytes: usize,
}

/// Pages and their shape.
pub struct ProfiledPages<Pages> {
    pub(super) inner: Pages,
    pub(super) shape: PageShape,
    /// Bytes of a whole page.
    pub(super) page_bytes: usize,
}

impl<Rows> ProfiledRows<Rows> {
    /// Bytes of whole rows.
    pub(super) const fn bytes(&self, rows: usize) -> usize {
        self.numbers(rows * self.width)
    }

    /// Bytes of some of their numbers.
    pub(super) const fn numbers(&self, count: usize) -> usize {
        count * self.number_bytes
    }
}

impl<Matrix> ProfiledMatrix<Matrix> {
    /// Bytes that a lookup of one row reads.
    pub(super) fn row_bytes(&self) -> usize {
        self.bytes / self.rows.max(1)
    }
}

impl<B: Backend> Storage for Profiled<B> {
    type Activations = ProfiledRows<B::Activations>;
    type Matrix = ProfiledMatrix<B::Matrix>;
    type Gain = B::Gain;
    type RopeTable = B::RopeTable;
    type Pages = ProfiledPages<B::Pages>;
    type Drawn = B::Drawn;

    fn number_bytes(&self) -> usize {
        self.inner.number_bytes()
    }

    fn activations(&self, rows: usize, width: usize) -> Result<Self::Activations> {
        let number_bytes = self.inner.number_bytes();
        Ok(ProfiledRows { inner: self.inner.activations(rows, width)?, width, number_bytes })
    }

    fn wide_activations(&self, rows: usize, width: usize) -> Result<Self::Activations> {
        let inner = self.inner.wide_activations(rows, width)?;
        Ok(ProfiledRows { inner, width, number_bytes: FLOAT_BYTES })
    }

    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, usage: MatrixUse) -> Result<Self::Matrix> {
        let inner = self.inner.matrix(parts, format, usage)?;
        let rows = parts.iter().map(|part| part.shape().0).sum();
        let cols = parts.first().map_or(0, |part| part.shape().1);
        let (bytes, choice_bytes) = (self.inner.matrix_bytes(&inner), self.inner.choice_bytes(&inner));
        Ok(ProfiledMatrix { inner, rows, cols, bytes, choice_bytes })
    }

    fn matrix_bytes(&self, matrix: &Self::Matrix) -> usize {
        matrix.bytes
    }

    fn choice_bytes(&self, table: &Self::Matrix) -> usize {
        table.choice_bytes
    }

    fn gain(&self, weight: &WeightPart<'_>) -> Result<Self::Gain> {
        self.inner.gain(weight)
    }

    fn rope_table(&self, positions: usize, head_dim: usize, spec: RopeSpec) -> Result<Self::RopeTable> {
        self.inner.rope_table(positions, head_dim, spec)
    }

    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Self::Pages> {
        let page_bytes = self.inner.page_bytes(shape, formats);
        Ok(ProfiledPages { inner: self.inner.pages(shape, formats)?, shape, page_bytes })
    }

    fn page_bytes(&self, shape: PageShape, formats: &[KvFormat]) -> usize {
        self.inner.page_bytes(shape, formats)
    }

    fn drawn(&self, capacity: usize) -> Result<Self::Drawn> {
        self.inner.drawn(capacity)
    }

    fn upload(&self, values: &[f32], into: &mut Self::Activations) {
        let bytes = values.len() * FLOAT_BYTES + into.numbers(values.len());
        self.measure_copy("upload", bytes, |inner| inner.upload(values, &mut into.inner));
    }

    fn download(&self, from: &Self::Activations, rows: usize) -> Vec<f32> {
        let bytes = rows * from.width * FLOAT_BYTES + from.bytes(rows);
        self.measure_copy("download", bytes, |inner| inner.download(&from.inner, rows))
    }
}
