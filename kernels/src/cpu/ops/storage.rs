//! Memory of the CPU backend: making and copying rows, weights and pages.

use crate::backend::Storage;
use crate::cpu::activations::{Activations, Gain, LEAST_NUMBERS, RopeTable};
use crate::cpu::buffer::Buffer;
use crate::cpu::matrix::Matrix;
use crate::cpu::pages::Pages;
use crate::cpu::pool::RowsMut;
use crate::cpu::processor::Cpu;
use crate::cpu::screen::Screen;
use crate::cpu::weight_memory::Packing;
use crate::error::Result;
use crate::paging::{KvFormat, PageShape};
use crate::rope::RopeSpec;
use crate::sampling::DrawnIds;
use crate::weights::{MatrixUse, WeightFormat, WeightPart};

impl Storage for Cpu {
    type Activations = Activations;
    type Matrix = Matrix;
    type Gain = Gain;
    type RopeTable = RopeTable;
    type Pages = Pages;
    type Drawn = DrawnIds;

    fn activations(&self, rows: usize, width: usize) -> Result<Activations> {
        Ok(Activations { data: Buffer::zeroed(rows * width, "activations")?, width })
    }

    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, usage: MatrixUse) -> Result<Matrix> {
        Matrix::pack(Packing { pool: &self.pool, memory: &self.weights }, parts, format, usage)
    }

    fn matrix_bytes(&self, matrix: &Matrix) -> usize {
        matrix.data.bytes()
    }

    fn choice_bytes(&self, table: &Matrix) -> usize {
        table.screen.as_ref().map_or(0, Screen::bytes)
    }

    fn gain(&self, weight: &WeightPart<'_>) -> Result<Gain> {
        weight.check()?;
        let (rows, cols) = weight.shape();
        let mut values = vec![0.0; rows * cols];
        values.chunks_mut(cols).enumerate().for_each(|(row, out)| weight.read_row(row, out));
        values.iter_mut().for_each(|value| *value += 1.0);
        Ok(Gain(values))
    }

    fn rope_table(&self, positions: usize, head_dim: usize, spec: RopeSpec) -> Result<RopeTable> {
        let (half, frequencies) = (head_dim / 2, spec.frequencies(head_dim));
        let mut values = Buffer::zeroed(positions * head_dim, "the table of rotary angles")?;
        let rows = RowsMut { data: &mut values, width: head_dim };
        self.pool.split_rows(rows, positions, LEAST_NUMBERS / head_dim, |positions, values| {
            for (position, row) in positions.zip(values.chunks_exact_mut(head_dim)) {
                for (i, frequency) in frequencies.iter().enumerate() {
                    (row[half + i], row[i]) = (position as f32 * frequency).sin_cos();
                }
            }
        });
        Ok(RopeTable { values, head_dim })
    }

    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Pages> {
        Pages::new(shape, formats)
    }

    fn page_bytes(&self, shape: PageShape, formats: &[KvFormat]) -> usize {
        Pages::page_bytes(shape, formats)
    }

    fn drawn(&self, capacity: usize) -> Result<DrawnIds> {
        Ok(DrawnIds::with_capacity(capacity))
    }

    fn upload(&self, values: &[f32], into: &mut Activations) {
        into.data[..values.len()].copy_from_slice(values);
    }

    fn download(&self, from: &Activations, rows: usize) -> Vec<f32> {
        from.rows(0..rows).to_vec()
    }
}
