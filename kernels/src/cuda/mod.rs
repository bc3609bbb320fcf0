//! The CUDA backend: bfloat16 operands, float32 sums, kernels of `kernels/cu` on a device's stream.
//!
//! Made by `server` and by tests. [`Device`] is all it knows of the device, so the same code launches the same kernels on a GPU and,
//! through the shim, on the processor. Heads, and the halves of gated rows, are multiples of 8 wide; heads at most 256.

#[cfg(not(feature = "cuda"))]
mod absent;
mod activations;
mod attend_full;
mod attend_paged;
mod backend;
mod bandwidth;
mod device;
#[cfg(feature = "cuda")]
mod driver;
mod heads;
#[cfg(feature = "cuda")]
mod library;
mod lists;
mod lock;
mod matrix;
mod memory;
mod norm;
mod number;
mod pages;
mod product;
mod product_kernels;
mod queue;
mod recording;
mod replays;
mod rope;
mod rows;
mod sample;
mod score;
mod scratch;
#[cfg(feature = "cuda-shim")]
mod shim;

#[cfg(not(feature = "cuda"))]
pub use absent::{Driver, is_present};
pub use activations::Activations;
pub use backend::{Cuda, computes};
pub use device::{Blocks, Device, LargeProduct, Launch, Params, Work};
#[cfg(feature = "cuda")]
pub use driver::{Driver, is_present};
pub use matrix::Matrix;
pub use norm::Gain;
pub use pages::Pages;
pub use rope::RopeTable;
pub use sample::Drawn;
#[cfg(feature = "cuda-shim")]
pub use shim::Shim;

use crate::backend::{
    AttentionShape, Backend, Draw, KernelCost, KvFormat, LinearRows, Output, PageShape, PagedRows, Precision, Result,
    Sandwich, Segment,
};
use crate::sampling::{ScoreAsk, TokenScore};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};
use number::Number;

impl<D: Device> Backend for Cuda<D> {
    type Activations = Activations<D>;
    type Matrix = Matrix<D>;
    type Gain = Gain<D>;
    type RopeTable = RopeTable<D>;
    type Pages = Pages<D>;
    type Drawn = Drawn<D>;

    fn describe(&self) -> String {
        self.main.device().describe()
    }

    fn wait(&self) {
        self.main.device().wait();
        self.side.device().wait();
    }

    fn rows_at_once(&self) -> usize {
        8192
    }

    fn replays_steps(&self) -> bool {
        true
    }

    fn step(&self, ops: impl FnOnce()) {
        self.main.step(ops);
    }

    fn timed_step(&self, ops: impl FnOnce()) -> Option<Vec<Vec<KernelCost>>> {
        Some(self.main.timed_step(ops))
    }

    fn mark(&self) {
        self.main.mark();
    }

    fn number_bytes(&self) -> usize {
        Number::Bf16.bytes()
    }

    fn aside(&self, ops: impl FnOnce()) {
        self.side.device().follow(self.main.device());
        let _aside = self.turn_aside();
        ops();
    }

    fn join(&self) {
        self.main.device().follow(self.side.device());
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
        self.norm_weight(weight)
    }

    fn rope_table(&self, positions: usize, head_dim: usize, theta: f32) -> Result<RopeTable<D>> {
        self.rotary_angles(positions, head_dim, theta)
    }

    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Pages<D>> {
        Pages::new(&self.heap, shape, formats)
    }

    fn page_bytes(&self, shape: PageShape, _: &[KvFormat]) -> usize {
        pages::page_numbers(shape) * Number::Bf16.bytes()
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

    fn gather(&self, from: &Activations<D>, rows: &[u32], out: &mut Activations<D>) {
        self.gather_rows(from, rows, out);
    }

    fn embed(&self, table: &Matrix<D>, ids: &[u32], scale: f32, out: &mut Activations<D>) {
        self.embed_rows(table, ids, scale, out);
    }

    fn embed_drawn(
        &self,
        table: &Matrix<D>,
        (drawn, places): (&Drawn<D>, &[u32]),
        scale: f32,
        out: &mut Activations<D>,
    ) {
        self.embed_drawn_rows(table, (drawn, places), scale, out);
    }

    fn rms_norm(&self, x: &Activations<D>, gain: &Gain<D>, eps: f32, rows: usize, out: &mut Activations<D>) {
        self.norm_rows(x, gain, eps, rows, out);
    }

    fn sandwich(
        &self,
        residual: &mut Activations<D>,
        y: &Activations<D>,
        gains: Sandwich<'_, Gain<D>>,
        rows: usize,
        x: &mut Activations<D>,
    ) {
        self.sandwich_rows(residual, y, gains, rows, x);
    }

    fn linear(&self, x: &Activations<D>, matrix: &Matrix<D>, rows: LinearRows, out: &mut Activations<D>) {
        self.product(x, matrix, (rows, None), out);
    }

    fn rope(&self, qkv: &mut Activations<D>, positions: &[u32], shape: &AttentionShape, table: &RopeTable<D>) {
        self.rope_rows(qkv, positions, shape, table);
    }

    fn write_pages(
        &self,
        kv: &Activations<D>,
        kv_column: usize,
        rows: PagedRows<'_>,
        layer: usize,
        pages: &mut Pages<D>,
    ) {
        self.write_rows(kv, kv_column, rows, layer, pages);
    }

    fn rope_and_write(
        &self,
        qkv: &mut Activations<D>,
        rows: (&[u32], PagedRows<'_>),
        heads: (&AttentionShape, &RopeTable<D>),
        layer: usize,
        pages: &mut Pages<D>,
    ) {
        self.rope_and_write_rows(qkv, rows, heads, layer, pages);
    }

    fn attend_full(
        &self,
        qkv: &Activations<D>,
        segments: &[Segment],
        shape: &AttentionShape,
        precision: Precision,
        out: &mut Activations<D>,
    ) {
        assert_eq!(precision, Precision::Bf16, "attention is in bfloat16");
        self.attend_segments(qkv, segments, shape, out);
    }

    fn attend_paged(
        &self,
        q: &Activations<D>,
        rows: PagedRows<'_>,
        shape: &AttentionShape,
        layer: usize,
        pages: &Pages<D>,
        out: &mut Activations<D>,
    ) {
        self.attend_pages(q, rows, shape, (pages, layer), out);
    }

    fn geglu(&self, gate_up: &Activations<D>, rows: usize, out: &mut Activations<D>) {
        self.geglu_rows(gate_up, rows, out);
    }

    fn linear_geglu(
        &self,
        x: &Activations<D>,
        matrix: &Matrix<D>,
        rows: LinearRows,
        out: (&mut Activations<D>, &mut Activations<D>),
    ) {
        self.gated_product(x, matrix, LinearRows { to: 0, ..rows }, out);
    }

    fn logits(
        &self,
        x: &Activations<D>,
        table: &Matrix<D>,
        softcap: Option<f32>,
        rows: usize,
        out: &mut Activations<D>,
    ) {
        self.product(x, table, (LinearRows::first(rows), softcap), out);
    }

    fn sample(&self, logits: &Activations<D>, draws: &[Draw], end_ids: &[u32], out: &mut Drawn<D>) {
        self.draw(logits, draws, end_ids, out);
    }

    fn choose(
        &self,
        x: &Activations<D>,
        Output { table, softcap, end_ids }: Output<'_, Matrix<D>>,
        draws: &[Draw],
        logits: &mut Activations<D>,
        out: &mut Drawn<D>,
    ) {
        let rows = draws.iter().map(|draw| draw.row as usize);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else { return };
        let rows = LinearRows { from: first, to: first, count: last + 1 - first };
        self.product(x, table, (rows, softcap), logits);
        self.draw(logits, draws, end_ids, out);
    }

    fn fetch(&self, drawn: &mut Drawn<D>) {
        self.fetch_drawn(drawn);
    }

    fn take(&self, drawn: &mut Drawn<D>, out: &mut Vec<Option<u32>>) {
        self.take_drawn(drawn, out);
    }

    fn score(&self, logits: &Activations<D>, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.answer(logits, asked, out);
    }
}
