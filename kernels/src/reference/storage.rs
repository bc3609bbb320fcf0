//! Memory of the reference.

use super::activations::Activations;
use super::device::{Reference, Rounding};
use super::matrix::Matrix;
use super::pages::Pages;
use crate::backend::Storage;
use crate::error::Result;
use crate::paging::{KvFormat, PageShape};
use crate::rope::RopeSpec;
use crate::sampling::DrawnIds;
use crate::weights::{MatrixUse, WeightFormat, WeightPart};

/// Angles, computed where they are needed.
#[derive(Debug, Clone, Copy)]
pub struct RopeTable {
    pub(super) head_dim: usize,
    pub(super) spec: RopeSpec,
}

impl Storage for Reference {
    type Activations = Activations;
    type Matrix = Matrix;
    type Gain = Vec<f32>;
    type RopeTable = RopeTable;
    type Pages = Pages;
    type Drawn = DrawnIds;

    fn activations(&self, rows: usize, width: usize) -> Result<Activations> {
        Ok(Activations { data: vec![0.0; rows * width], width, rounds: self.rounding == Rounding::Rows })
    }

    fn wide_activations(&self, rows: usize, width: usize) -> Result<Activations> {
        Ok(Activations { data: vec![0.0; rows * width], width, rounds: false })
    }

    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, _: MatrixUse) -> Result<Matrix> {
        Matrix::pack(parts, format)
    }

    fn matrix_bytes(&self, matrix: &Matrix) -> usize {
        matrix.bytes()
    }

    fn choice_bytes(&self, table: &Matrix) -> usize {
        table.bytes()
    }

    fn gain(&self, weight: &WeightPart<'_>) -> Result<Vec<f32>> {
        let mut values = vec![0.0; weight.shape().0 * weight.shape().1];
        values.chunks_mut(weight.shape().1).enumerate().for_each(|(row, out)| weight.read_row(row, out));
        Ok(values.into_iter().map(|w| 1.0 + w).collect())
    }

    fn rope_table(&self, _: usize, head_dim: usize, spec: RopeSpec) -> Result<RopeTable> {
        Ok(RopeTable { head_dim, spec })
    }

    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Pages> {
        Ok(Pages::new(shape, formats))
    }

    fn page_bytes(&self, shape: PageShape, formats: &[KvFormat]) -> usize {
        Pages::new(PageShape { pages: 0, ..shape }, formats).page_numbers() * 4
    }

    fn drawn(&self, capacity: usize) -> Result<DrawnIds> {
        Ok(DrawnIds::with_capacity(capacity))
    }

    fn upload(&self, values: &[f32], into: &mut Activations) {
        let width = into.width;
        values.chunks(width).enumerate().for_each(|(row, values)| into.set(row, values));
    }

    fn download(&self, from: &Activations, rows: usize) -> Vec<f32> {
        from.data[..rows * from.width].to_vec()
    }
}
