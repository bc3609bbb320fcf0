//! Memory of the CUDA backend: making and copying rows, weights and pages.

use super::activations::Activations;
use super::backend::Cuda;
use super::device::Device;
use super::matrix::Matrix;
use super::norm::Gain;
use super::number::Number;
use super::pages::{Pages, page_numbers};
use super::rope::RopeTable;
use super::sample::Drawn;
use crate::backend::Storage;
use crate::error::Result;
use crate::paging::{KvFormat, PageShape};
use crate::rope::RopeSpec;
use crate::weights::{MatrixUse, WeightFormat, WeightPart};

impl<D: Device> Storage for Cuda<D> {
    type Activations = Activations<D>;
    type Matrix = Matrix<D>;
    type Gain = Gain<D>;
    type RopeTable = RopeTable<D>;
    type Pages = Pages<D>;
    type Drawn = Drawn<D>;

    fn number_bytes(&self) -> usize {
        Number::Bf16.bytes()
    }

    fn activations(&self, rows: usize, width: usize) -> Result<Activations<D>> {
        Activations::new(&self.heap, rows, width, Number::Bf16)
    }

    fn wide_activations(&self, rows: usize, width: usize) -> Result<Activations<D>> {
        Activations::new(&self.heap, rows, width, Number::F32)
    }

    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, _: MatrixUse) -> Result<Matrix<D>> {
        self.pack(parts, format)
    }

    fn matrix_bytes(&self, matrix: &Matrix<D>) -> usize {
        matrix.bytes()
    }

    fn choice_bytes(&self, table: &Matrix<D>) -> usize {
        table.bytes()
    }

    fn gain(&self, weight: &WeightPart<'_>) -> Result<Gain<D>> {
        weight.check()?;
        let (rows, cols) = weight.shape();
        assert_eq!(rows, 1, "a norm has one row of weights");
        let fill = |_: usize, values: &mut [f32]| {
            weight.read_row(0, values);
            values.iter_mut().for_each(|value| *value += 1.0);
        };
        Ok(Gain { memory: self.float32(1, cols, fill, "weights of norms")?, width: cols })
    }

    fn rope_table(&self, positions: usize, head_dim: usize, spec: RopeSpec) -> Result<RopeTable<D>> {
        assert!(head_dim.is_multiple_of(8), "heads are multiples of 8 wide");
        let half = head_dim / 2;
        let frequencies = spec.frequencies(head_dim);
        let fill = |position: usize, values: &mut [f32]| {
            for (i, frequency) in frequencies.iter().enumerate() {
                (values[half + i], values[i]) = (position as f32 * frequency).sin_cos();
            }
        };
        Ok(RopeTable { memory: self.float32(positions, head_dim, fill, "the table of rotary angles")?, head_dim })
    }

    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Pages<D>> {
        Pages::new(&self.heap, shape, formats)
    }

    fn page_bytes(&self, shape: PageShape, _: &[KvFormat]) -> usize {
        page_numbers(shape) * Number::Bf16.bytes()
    }

    fn drawn(&self, capacity: usize) -> Result<Drawn<D>> {
        Drawn::new(&self.heap, capacity)
    }

    fn upload(&self, values: &[f32], into: &mut Activations<D>) {
        into.upload(self.queue(), values);
    }

    fn download(&self, from: &Activations<D>, rows: usize) -> Vec<f32> {
        from.download(self.queue(), rows)
    }
}
