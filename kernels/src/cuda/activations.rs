//! Rows of activations on a device.
//!
//! Made and read by the ops in `cuda`. Operands are bfloat16; the residual stream and logits are float32. Rows are a
//! multiple of [`PITCH`] numbers apart, and the numbers between a row's width and its pitch are zero.

use super::device::{Device, NO_ADDRESS};
use super::memory::{Heap, Memory};
use super::number::{Number, PITCH};
use super::queue::Queue;
use crate::backend::Result;

/// Columns of logits that share one best key: the outputs of one tile of `product.cu`.
pub(super) const BEST_COLUMNS: usize = 16;

/// Rows of activations, `[rows, width]`.
pub struct Activations<D: Device> {
    memory: Memory<D>,
    rows: usize,
    pub(super) width: usize,
    pub(super) pitch: usize,
    pub(super) number: Number,
    /// Best key of each [`BEST_COLUMNS`] columns, `[rows, width / BEST_COLUMNS]`; present once a product wrote the
    /// rows.
    best: Option<Memory<D>>,
}

impl<D: Device> Activations<D> {
    /// Zeroed rows.
    pub(super) fn new(heap: &Heap<D>, rows: usize, width: usize, number: Number) -> Result<Self> {
        let pitch = width.next_multiple_of(PITCH);
        let memory = Memory::new(heap, rows * pitch * number.bytes(), "activations")?;
        Ok(Self { memory, rows, width, pitch, number, best: None })
    }

    /// Rows that there are.
    pub(super) const fn count(&self) -> usize {
        self.rows
    }

    /// Address of row `row`, checked to have `count` rows of `number` from there on.
    pub(super) fn rows(&self, row: usize, count: usize, number: Number) -> u64 {
        assert_eq!(self.number, number, "rows of {number:?} are wanted");
        assert!(row + count <= self.rows, "{row} + {count} rows are wanted of {}", self.rows);
        self.memory.at(row * self.row_bytes(), count * self.row_bytes())
    }

    /// Bytes of the numbers in `rows` rows, without the gaps between rows.
    pub(super) const fn bytes(&self, rows: usize) -> usize {
        rows * self.width * self.number.bytes()
    }

    /// Bytes from one row to the next.
    pub(super) const fn row_bytes(&self) -> usize {
        self.pitch * self.number.bytes()
    }

    /// Bytes of the best keys of `rows` rows; 0 where no product left any.
    pub(super) fn best_bytes(&self, rows: usize) -> usize {
        if self.best.is_some() { rows * self.width.div_ceil(BEST_COLUMNS) * size_of::<u64>() } else { 0 }
    }

    /// Address where a product that writes `count` rows from `row` on leaves their best keys.
    pub(super) fn best(&mut self, heap: &Heap<D>, row: usize, count: usize) -> u64 {
        let row_bytes = self.width.div_ceil(BEST_COLUMNS) * size_of::<u64>();
        let best = self.best.get_or_insert_with(|| Memory::required(heap, self.rows * row_bytes, "the best of logits"));
        best.at(row * row_bytes, count * row_bytes)
    }

    /// Address of the best keys of all rows, or [`NO_ADDRESS`] where no product wrote the rows.
    pub(super) fn best_of_all(&self) -> u64 {
        self.best.as_ref().map_or(NO_ADDRESS, Memory::address)
    }

    /// Copies rows from the host: `values` is `[rows, width]`.
    pub(super) fn upload(&mut self, queue: &Queue<D>, values: &[f32]) {
        self.best = None;
        let rows = values.len() / self.width;
        let mut bytes = vec![0_u8; rows * self.row_bytes()];
        for (row, values) in bytes.chunks_exact_mut(self.row_bytes()).zip(values.chunks_exact(self.width)) {
            self.number.write(values, row);
        }
        queue.write(&bytes, &self.memory, 0);
    }

    /// Copies the first `rows` rows to the host.
    pub(super) fn download(&self, queue: &Queue<D>, rows: usize) -> Vec<f32> {
        let mut bytes = vec![0_u8; rows * self.row_bytes()];
        queue.read(&self.memory, 0, &mut bytes);
        let mut values = Vec::with_capacity(rows * self.width);
        for row in bytes.chunks_exact(self.row_bytes()) {
            self.number.read(&row[..self.bytes(1)], &mut values);
        }
        values
    }
}
