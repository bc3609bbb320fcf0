//! The CPU backend: run-time dispatch over instruction sets, packed weights, a fixed thread pool.
//!
//! Made by `server` and by tests. Activations are float32 rows; see `matrix`, `pages` for the packed layouts.

mod attend_full;
mod attend_paged;
mod bandwidth;
mod buffer;
pub(crate) mod isa;
mod matrix;
mod pages;
mod pool;
mod product;
mod quantized;
mod rows;
mod sample;
mod score;
mod screen;
mod share;
mod tile;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use buffer::{Buffer, Plain};
pub(crate) use isa::for_each_isa;
pub use isa::{Isa, Level};
pub use matrix::Matrix;
pub use pages::Pages;

use crate::backend::{
    AttentionShape, Backend, Bandwidth, Draw, KvFormat, LinearRows, Output, PageShape, PagedRows, Precision, Result,
    Sandwich, Segment,
};
use crate::reference::inverse_frequency;
use crate::sampling::{DrawnIds, ScoreAsk, TokenScore};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};
use attend_full::Full;
use attend_paged::Paged;
use pages::KvRows;
use pool::Pool;
use product::Rows;
use screen::{Choose, Screen, ScreenSpace};
use tile::Operands;

/// Numbers below which a row-wise op stays on the calling thread: waking others costs more.
const LEAST_NUMBERS: usize = 16 * 1024;

/// Ops on the machine's own processor.
pub struct Cpu {
    isa: Isa,
    pool: Pool,
    /// Packed keys and values of an encoder batch.
    packed_kv: Mutex<Vec<u32>>,
    screen_space: Mutex<ScreenSpace>,
}

/// Rows of float32.
pub struct Activations {
    data: Buffer<f32>,
    width: usize,
}

/// Norm weights as factors, `1 + w`.
pub struct Gain(Vec<f32>);

/// `[cos.., sin..]` of each position.
pub struct RopeTable {
    values: Buffer<f32>,
    head_dim: usize,
}

impl Cpu {
    /// A backend with `threads` threads in all; 0 takes every core.
    pub fn new(isa: Isa, threads: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let pool = Pool::new(if threads == 0 { cores() } else { threads });
        Self { isa, pool, packed_kv: Mutex::default(), screen_space: Mutex::default() }
    }

    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn split_rows(&self, out: &mut Activations, rows: usize, job: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync) {
        let least = LEAST_NUMBERS.div_ceil(out.width);
        self.pool.split_rows((&mut out.data, out.width), rows, least, job);
    }
}

/// Working memory. It is overwritten before it is read, so a panic while it was held leaves nothing wrong.
fn locked<T>(space: &Mutex<T>) -> MutexGuard<'_, T> {
    space.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Activations {
    fn rows(&self, range: std::ops::Range<usize>) -> &[f32] {
        &self.data[range.start * self.width..range.end * self.width]
    }
}

impl Bandwidth for Cpu {
    fn bytes_per_s(&self) -> Result<f64> {
        bandwidth::read_bytes_per_s(self.isa, &self.pool)
    }
}

impl Backend for Cpu {
    type Activations = Activations;
    type Matrix = Matrix;
    type Gain = Gain;
    type RopeTable = RopeTable;
    type Pages = Pages;
    type Drawn = DrawnIds;

    fn describe(&self) -> String {
        let threads = self.threads();
        format!("cpu ({}, {threads} thread{})", self.isa.level().name(), if threads == 1 { "" } else { "s" })
    }

    fn activations(&self, rows: usize, width: usize) -> Result<Activations> {
        Ok(Activations { data: Buffer::zeroed(rows * width, "activations")?, width })
    }

    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, usage: MatrixUse) -> Result<Matrix> {
        Matrix::pack(&self.pool, parts, format, usage)
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

    fn rope_table(&self, positions: usize, head_dim: usize, theta: f32) -> Result<RopeTable> {
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half).map(|i| inverse_frequency(i, head_dim, theta)).collect();
        let mut values = Buffer::zeroed(positions * head_dim, "the table of rotary angles")?;
        self.pool.split_rows((&mut values, head_dim), positions, LEAST_NUMBERS / head_dim, |positions, values| {
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
        pages::page_words(shape, formats) * 4
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

    fn gather(&self, from: &Activations, rows: &[u32], out: &mut Activations) {
        assert_eq!(from.width, out.width, "rows keep their width");
        let out = &mut out.data[..rows.len() * from.width];
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(from.width)) {
            out.copy_from_slice(from.rows(row as usize..row as usize + 1));
        }
    }

    fn embed(&self, table: &Matrix, ids: &[u32], scale: f32, out: &mut Activations) {
        let width = out.width;
        self.split_rows(out, ids.len(), |rows, out| {
            for (&id, out) in ids[rows].iter().zip(out.chunks_exact_mut(width)) {
                table.read_row(id as usize, scale, out);
            }
        });
    }

    fn embed_drawn(&self, table: &Matrix, (drawn, places): (&DrawnIds, &[u32]), scale: f32, out: &mut Activations) {
        for (row, id) in drawn.at(places) {
            let width = out.width;
            table.read_row(id as usize, scale, &mut out.data[row * width..][..width]);
        }
    }

    fn rms_norm(&self, x: &Activations, gain: &Gain, eps: f32, rows: usize, out: &mut Activations) {
        self.split_rows(out, rows, |rows, out| rows::rms_norm(self.isa, x.rows(rows), &gain.0, eps, out));
    }

    fn sandwich(
        &self,
        residual: &mut Activations,
        y: &Activations,
        gains: Sandwich<'_, Gain>,
        rows: usize,
        x: &mut Activations,
    ) {
        let seam = rows::Seam { post: &gains.post.0, pre: &gains.pre.0, eps: gains.eps };
        let least = LEAST_NUMBERS.div_ceil(residual.width);
        let buffers = (&mut residual.data[..], &mut x.data[..], residual.width);
        self.pool.split_row_pairs(buffers, rows, least, |rows, residual, x| {
            rows::sandwich(self.isa, residual, y.rows(rows), seam, x);
        });
    }

    fn linear(&self, x: &Activations, matrix: &Matrix, rows: LinearRows, out: &mut Activations) {
        assert!(x.width == matrix.cols && out.width == matrix.rows, "the rows are as wide as the matrix");
        let LinearRows { from, to, count } = rows;
        let rows = Rows { x: x.rows(from..from + count), count };
        product::product(self, &rows, matrix, &mut out.data[to * matrix.rows..], |_| ());
    }

    fn rope(&self, qkv: &mut Activations, positions: &[u32], shape: &AttentionShape, table: &RopeTable) {
        let (width, dim) = (qkv.width, table.head_dim);
        let heads = shape.heads + shape.kv_heads;
        self.split_rows(qkv, positions.len(), |rows, qkv| {
            for (&position, row) in positions[rows].iter().zip(qkv.chunks_exact_mut(width)) {
                rows::rope(self.isa, row, heads, dim, &table.values[position as usize * dim..][..dim]);
            }
        });
    }

    fn write_pages(&self, kv: &Activations, kv_column: usize, rows: PagedRows<'_>, layer: usize, pages: &mut Pages) {
        let source = KvRows { values: &kv.data, width: kv.width, column: kv_column };
        pages.write((self.isa, &self.pool), source, rows, layer);
    }

    fn attend_full(
        &self,
        qkv: &Activations,
        segments: &[Segment],
        shape: &AttentionShape,
        precision: Precision,
        out: &mut Activations,
    ) {
        let dots = precision == Precision::Bf16 && self.isa.level() == Level::Avx512Bf16;
        let operands = if dots { Operands::Bf16 } else { Operands::F32 };
        let full = Full { isa: self.isa, pool: &self.pool, operands, shape, segments, qkv: &qkv.data };
        full.run(&mut locked(&self.packed_kv), &mut out.data);
    }

    fn attend_paged(
        &self,
        q: &Activations,
        rows: PagedRows<'_>,
        shape: &AttentionShape,
        layer: usize,
        pages: &Pages,
        out: &mut Activations,
    ) {
        let (isa, pool) = (self.isa, &self.pool);
        Paged { isa, pool, shape, rows, q: &q.data, q_width: q.width, layer, pages }.run(&mut out.data);
    }

    fn geglu(&self, gate_up: &Activations, rows: usize, out: &mut Activations) {
        let width = out.width;
        self.split_rows(out, rows, |rows, out| rows::geglu(self.isa, gate_up.rows(rows), width, out));
    }

    fn logits(&self, x: &Activations, table: &Matrix, softcap: Option<f32>, rows: usize, out: &mut Activations) {
        assert!(x.width == table.cols && out.width == table.rows, "the rows are as wide as the table");
        let rows = Rows { x: x.rows(0..rows), count: rows };
        product::product(self, &rows, table, &mut out.data, |stretch| {
            if let Some(cap) = softcap {
                rows::softcap(self.isa, stretch, cap);
            }
        });
    }

    fn sample(&self, logits: &Activations, draws: &[Draw], end_ids: &[u32], out: &mut DrawnIds) {
        let out = out.list();
        let first = out.len();
        out.resize(first + draws.len(), None);
        self.pool.split_rows((&mut out[first..], 1), draws.len(), 2, |share, out| {
            for (draw, out) in draws[share].iter().zip(out) {
                let row = draw.row as usize;
                *out = sample::choose(self.isa, logits.rows(row..row + 1), &draw.choice, end_ids);
            }
        });
    }

    fn choose(
        &self,
        x: &Activations,
        output: Output<'_, Matrix>,
        draws: &[Draw],
        logits: &mut Activations,
        out: &mut DrawnIds,
    ) {
        assert!(x.width == output.table.cols && logits.width == output.table.rows, "the rows are as wide as the table");
        assert!(draws.iter().all(|draw| draw.choice.is_narrow()), "other choices depend on every logit");
        let rows = draws.iter().map(|draw| draw.row as usize);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else { return };
        let screen = output.table.screen.as_ref().expect("ids are chosen from a table for the output");
        let x = Rows { x: x.rows(first..last + 1), count: last + 1 - first };
        let logits = &mut logits.data[first * output.table.rows..];
        Choose { cpu: self, x, first, output, draws }.run(screen, &mut locked(&self.screen_space), logits, out.list());
    }

    fn take(&self, drawn: &mut DrawnIds, out: &mut Vec<Option<u32>>) {
        drawn.take(out);
    }

    fn score(&self, logits: &Activations, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let first = out.len();
        out.resize_with(first + asked.len(), TokenScore::default);
        self.pool.split_rows((&mut out[first..], 1), asked.len(), 2, |share, out| {
            for (ask, out) in asked[share].iter().zip(out) {
                let row = ask.row as usize;
                *out = score::score(self.isa, logits.rows(row..row + 1), ask);
            }
        });
    }
}
