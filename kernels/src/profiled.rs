//! A backend that hands every op on to another one, and counts its calls, its time and the bytes it must move.
//!
//! Made by whoever measures; a model that is not measured runs without it. Computes nothing itself.

mod profile;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::backend::{
    AttentionShape, Backend, Bandwidth, Draw, KvFormat, LinearRows, NO_PLACE, Output, PageShape, PagedRows, Precision,
    Result, Sandwich, Segment,
};
use crate::sampling::{ScoreAsk, TokenScore};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};
pub use profile::{Cost, Op, Profile};

/// Bytes of a number that is float32 on every device: of the host, of gains and of angles.
const FLOAT_BYTES: usize = 4;

/// Another backend's ops, measured.
pub struct Profiled<B> {
    inner: B,
    profile: Profile,
    /// The ops of the step that is being asked for.
    step: Mutex<Option<Vec<(Op, Cost)>>>,
}

/// Rows and how wide they are.
pub struct ProfiledRows<Rows> {
    inner: Rows,
    width: usize,
    number_bytes: usize,
}

/// A matrix and its size.
pub struct ProfiledMatrix<Matrix> {
    inner: Matrix,
    rows: usize,
    cols: usize,
    bytes: usize,
    choice_bytes: usize,
}

/// Pages and their shape.
pub struct ProfiledPages<Pages> {
    inner: Pages,
    shape: PageShape,
}

/// What is kept here is whole whatever panicked in between.
fn locked<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Rows> ProfiledRows<Rows> {
    /// Bytes of whole rows.
    const fn bytes(&self, rows: usize) -> usize {
        self.numbers(rows * self.width)
    }

    /// Bytes of some numbers of them.
    const fn numbers(&self, count: usize) -> usize {
        count * self.number_bytes
    }
}

impl<B: Backend> Profiled<B> {
    /// Measures the ops of `inner`, by the device's clock where it has one. Nothing goes on aside, and no step is replayed.
    pub fn new(inner: B, profile: Profile) -> Self {
        Self { inner, profile, step: Mutex::new(None) }
    }

    /// Bytes of one position's keys and values in one layer.
    fn position_bytes(&self, pages: &ProfiledPages<B::Pages>, format: KvFormat) -> usize {
        self.inner.page_bytes(pages.shape, &[format]) / format.page_tokens() / pages.shape.layers.max(1)
    }

    fn measure(&self, name: &'static str, bytes: usize, run: impl FnOnce(&B)) {
        self.measure_product(Op::of(name), bytes, run);
    }

    fn measure_product(&self, op: Op, bytes: usize, run: impl FnOnce(&B)) {
        if locked(&self.step).is_none() {
            return self.step(|| self.measure_product(op, bytes, run));
        }
        let began = Instant::now();
        run(&self.inner);
        self.inner.mark();
        let cost = Cost { calls: 1, time: began.elapsed(), bytes: bytes as u64 };
        locked(&self.step).get_or_insert_default().push((op, cost));
    }

    /// Of what the host gives or gets.
    fn measure_copy<T>(&self, name: &'static str, bytes: usize, run: impl FnOnce(&B) -> T) -> T {
        let began = Instant::now();
        let done = run(&self.inner);
        self.inner.wait();
        self.profile.add(Op::of(name), Cost { calls: 1, time: began.elapsed(), bytes: bytes as u64 });
        done
    }
}

impl<Matrix> ProfiledMatrix<Matrix> {
    fn op(&self, name: &'static str) -> Op {
        Op { matrix: Some((self.cols, self.rows)), ..Op::of(name) }
    }

    /// Of a product with `count` rows of `x`, without what it writes.
    fn product_bytes<Rows>(&self, count: usize, x: &ProfiledRows<Rows>) -> usize {
        self.bytes + x.numbers(count * self.cols)
    }
}

impl<B: Bandwidth> Bandwidth for Profiled<B> {
    fn bytes_per_s(&self) -> Result<f64> {
        self.inner.bytes_per_s()
    }
}

impl<B: Backend> Backend for Profiled<B> {
    type Activations = ProfiledRows<B::Activations>;
    type Matrix = ProfiledMatrix<B::Matrix>;
    type Gain = B::Gain;
    type RopeTable = B::RopeTable;
    type Pages = ProfiledPages<B::Pages>;
    type Drawn = B::Drawn;

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn rows_at_once(&self) -> usize {
        self.inner.rows_at_once()
    }

    fn wait(&self) {
        self.inner.wait();
    }

    fn replays_steps(&self) -> bool {
        self.inner.replays_steps()
    }

    fn step(&self, ops: impl FnOnce()) {
        *locked(&self.step) = Some(Vec::new());
        let times = self.inner.timed_step(ops);
        let costs = locked(&self.step).take().expect("a step has one end");
        if times.is_some() {
            self.profile.set_by_device();
        }
        for (i, (op, cost)) in costs.into_iter().enumerate() {
            match &times {
                Some(times) => self.profile.add_kernels(op, cost.bytes, &times[i]),
                None => self.profile.add(op, cost),
            }
        }
    }

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

    fn rope_table(&self, positions: usize, head_dim: usize, theta: f32) -> Result<Self::RopeTable> {
        self.inner.rope_table(positions, head_dim, theta)
    }

    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Self::Pages> {
        Ok(ProfiledPages { inner: self.inner.pages(shape, formats)?, shape })
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

    fn gather(&self, from: &Self::Activations, rows: &[u32], out: &mut Self::Activations) {
        let bytes = from.bytes(rows.len()) + out.bytes(rows.len());
        self.measure("gather", bytes, |inner| inner.gather(&from.inner, rows, &mut out.inner));
    }

    fn embed(&self, table: &Self::Matrix, ids: &[u32], scale: f32, out: &mut Self::Activations) {
        let read = ids.len() * (table.bytes / table.rows.max(1));
        let bytes = read + out.bytes(ids.len());
        self.measure("embed", bytes, |inner| inner.embed(&table.inner, ids, scale, &mut out.inner));
    }

    fn embed_drawn(
        &self,
        table: &Self::Matrix,
        (drawn, places): (&Self::Drawn, &[u32]),
        scale: f32,
        out: &mut Self::Activations,
    ) {
        let rows = places.iter().filter(|place| **place != NO_PLACE).count();
        let bytes = rows * (table.bytes / table.rows.max(1)) + out.bytes(rows);
        let run = |inner: &B| inner.embed_drawn(&table.inner, (drawn, places), scale, &mut out.inner);
        self.measure("embed_drawn", bytes, run);
    }

    fn rms_norm(&self, x: &Self::Activations, gain: &Self::Gain, eps: f32, rows: usize, out: &mut Self::Activations) {
        let bytes = x.bytes(rows) + out.bytes(rows) + x.width * FLOAT_BYTES;
        self.measure("rms_norm", bytes, |inner| inner.rms_norm(&x.inner, gain, eps, rows, &mut out.inner));
    }

    fn sandwich(
        &self,
        residual: &mut Self::Activations,
        y: &Self::Activations,
        gains: Sandwich<'_, Self::Gain>,
        rows: usize,
        x: &mut Self::Activations,
    ) {
        let gain_bytes = 2 * y.width * FLOAT_BYTES;
        let bytes = 2 * residual.bytes(rows) + y.bytes(rows) + x.bytes(rows) + gain_bytes;
        let run = |inner: &B| inner.sandwich(&mut residual.inner, &y.inner, gains, rows, &mut x.inner);
        self.measure("sandwich", bytes, run);
    }

    fn linear(&self, x: &Self::Activations, matrix: &Self::Matrix, rows: LinearRows, out: &mut Self::Activations) {
        let bytes = matrix.product_bytes(rows.count, x) + out.numbers(rows.count * matrix.rows);
        let run = |inner: &B| inner.linear(&x.inner, &matrix.inner, rows, &mut out.inner);
        self.measure_product(matrix.op("linear"), bytes, run);
    }

    fn rope(&self, qkv: &mut Self::Activations, positions: &[u32], shape: &AttentionShape, table: &Self::RopeTable) {
        let rotated = shape.query_width() + shape.kv_width();
        let bytes = positions.len() * (2 * qkv.numbers(rotated) + shape.head_dim * FLOAT_BYTES);
        self.measure("rope", bytes, |inner| inner.rope(&mut qkv.inner, positions, shape, table));
    }

    fn write_pages(
        &self,
        kv: &Self::Activations,
        kv_column: usize,
        rows: PagedRows<'_>,
        layer: usize,
        pages: &mut Self::Pages,
    ) {
        let bytes = rows.spans.len() * (kv.numbers(kv.width - kv_column) + self.position_bytes(pages, rows.format));
        let run = |inner: &B| inner.write_pages(&kv.inner, kv_column, rows, layer, &mut pages.inner);
        self.measure("write_pages", bytes, run);
    }

    fn rope_and_write(
        &self,
        qkv: &mut Self::Activations,
        (positions, rows): (&[u32], PagedRows<'_>),
        heads: (&AttentionShape, &Self::RopeTable),
        layer: usize,
        pages: &mut Self::Pages,
    ) {
        let (queries, angles) = (heads.0.query_width(), heads.0.head_dim);
        let row_bytes = qkv.numbers(qkv.width + queries) + angles * FLOAT_BYTES;
        let bytes = positions.len() * (row_bytes + self.position_bytes(pages, rows.format));
        let run = |inner: &B| inner.rope_and_write(&mut qkv.inner, (positions, rows), heads, layer, &mut pages.inner);
        self.measure("rope_and_write", bytes, run);
    }

    fn attend_full(
        &self,
        qkv: &Self::Activations,
        segments: &[Segment],
        shape: &AttentionShape,
        precision: Precision,
        out: &mut Self::Activations,
    ) {
        let rows = segments.iter().map(|segment| segment.len as usize).sum();
        let bytes = qkv.bytes(rows) + out.bytes(rows);
        let run = |inner: &B| inner.attend_full(&qkv.inner, segments, shape, precision, &mut out.inner);
        self.measure("attend_full", bytes, run);
    }

    fn attend_paged(
        &self,
        q: &Self::Activations,
        rows: PagedRows<'_>,
        shape: &AttentionShape,
        layer: usize,
        pages: &Self::Pages,
        out: &mut Self::Activations,
    ) {
        let seen = |tokens: usize| shape.window.map_or(tokens, |window| window.min(tokens));
        let positions: usize = rows.spans.iter().map(|span| seen(span.tokens as usize)).sum();
        let bytes = positions * self.position_bytes(pages, rows.format)
            + rows.spans.len() * q.numbers(shape.query_width())
            + out.bytes(rows.spans.len());
        let run = |inner: &B| inner.attend_paged(&q.inner, rows, shape, layer, &pages.inner, &mut out.inner);
        self.measure("attend_paged", bytes, run);
    }

    fn geglu(&self, gate_up: &Self::Activations, rows: usize, out: &mut Self::Activations) {
        let bytes = gate_up.bytes(rows) + out.bytes(rows);
        self.measure("geglu", bytes, |inner| inner.geglu(&gate_up.inner, rows, &mut out.inner));
    }

    fn linear_geglu(
        &self,
        x: &Self::Activations,
        matrix: &Self::Matrix,
        rows: LinearRows,
        (gate_up, out): (&mut Self::Activations, &mut Self::Activations),
    ) {
        let bytes = matrix.product_bytes(rows.count, x) + out.bytes(rows.count);
        let run = |inner: &B| inner.linear_geglu(&x.inner, &matrix.inner, rows, (&mut gate_up.inner, &mut out.inner));
        self.measure_product(matrix.op("linear_geglu"), bytes, run);
    }

    fn logits(
        &self,
        x: &Self::Activations,
        table: &Self::Matrix,
        softcap: Option<f32>,
        rows: usize,
        out: &mut Self::Activations,
    ) {
        let bytes = table.product_bytes(rows, x) + out.numbers(rows * table.rows);
        let run = |inner: &B| inner.logits(&x.inner, &table.inner, softcap, rows, &mut out.inner);
        self.measure_product(table.op("logits"), bytes, run);
    }

    fn sample(&self, logits: &Self::Activations, draws: &[Draw], end_ids: &[u32], out: &mut Self::Drawn) {
        let bytes = logits.bytes(draws.len());
        self.measure("sample", bytes, |inner| inner.sample(&logits.inner, draws, end_ids, out));
    }

    fn choose(
        &self,
        x: &Self::Activations,
        Output { table, softcap, end_ids }: Output<'_, Self::Matrix>,
        draws: &[Draw],
        logits: &mut Self::Activations,
        out: &mut Self::Drawn,
    ) {
        // Logits are the backend's working memory here: how many it writes is its own affair.
        let bytes = table.choice_bytes + x.bytes(draws.len());
        let output = Output { table: &table.inner, softcap, end_ids };
        let run = |inner: &B| inner.choose(&x.inner, output, draws, &mut logits.inner, out);
        self.measure_product(table.op("choose"), bytes, run);
    }

    fn fetch(&self, drawn: &mut Self::Drawn) {
        self.inner.fetch(drawn);
    }

    fn take(&self, drawn: &mut Self::Drawn, out: &mut Vec<Option<u32>>) {
        self.inner.take(drawn, out);
    }

    fn score(&self, logits: &Self::Activations, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let bytes = logits.bytes(asked.len());
        self.measure_copy("score", bytes, |inner| inner.score(&logits.inner, asked, out));
    }
}
