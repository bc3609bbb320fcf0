//! The CUDA backend: bfloat16 operands, float32 sums, kernels of `kernels/cu` on a device's stream.
//!
//! Made by `server` and by tests. [`Device`] is all it knows of the device, so the same code launches the same kernels
//! on a GPU and, through the shim, on the processor. Heads, and the halves of gated rows, are multiples of 8 wide;
//! heads at most 256.

#[cfg(not(feature = "cuda"))]
mod absent;
mod activations;
mod attend_full;
mod attend_paged;
mod backend;
mod bandwidth;
mod best;
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
mod rule;
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

use crate::attention::{FullAttention, PagedAttention, Segment};
use crate::backend::{
    AttentionOps, ChosenRows, DrawnRows, GatedRows, KernelCost, KvColumns, LinearRows, Norm, OutputLayer, ProductOps,
    RotaryHeads, RotaryRows, RowOps, SamplingOps, Sandwich, SeamRows, Storage, Stream,
};
use crate::error::Result;
use crate::number::Precision;
use crate::paging::{KvFormat, LayerPages, LayerPagesMut, PageShape, PagedRows};
use crate::sampling::{BestAsk, Candidate, DrawRules, Draws, ScoreAsk, TokenScore};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};
use number::Number;

impl<D: Device> Stream for Cuda<D> {
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

    fn aside(&self, ops: impl FnOnce()) {
        self.side.device().follow(self.main.device());
        let _aside = self.turn_aside();
        ops();
    }

    fn join(&self) {
        self.main.device().follow(self.side.device());
    }
}

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
}

impl<D: Device> RowOps for Cuda<D> {
    fn gather(&self, from: &Activations<D>, rows: &[u32], out: &mut Activations<D>) {
        self.gather_rows(from, rows, out);
    }

    fn embed(&self, table: &Matrix<D>, ids: &[u32], scale: f32, out: &mut Activations<D>) {
        self.embed_rows(table, ids, scale, out);
    }

    fn embed_drawn(&self, table: &Matrix<D>, ids: DrawnRows<'_, Drawn<D>>, scale: f32, out: &mut Activations<D>) {
        self.embed_drawn_rows(table, ids, scale, out);
    }

    fn rms_norm(&self, x: &Activations<D>, norm: Norm<'_, Gain<D>>, rows: usize, out: &mut Activations<D>) {
        self.norm_rows(x, norm, rows, out);
    }

    fn sandwich(
        &self,
        y: &Activations<D>,
        norms: Sandwich<'_, Gain<D>>,
        rows: usize,
        out: SeamRows<'_, Activations<D>>,
    ) {
        self.sandwich_rows(y, norms, rows, out);
    }

    fn rope(&self, qkv: &mut Activations<D>, positions: &[u32], heads: RotaryHeads<'_, RopeTable<D>>) {
        self.rope_rows(qkv, positions, heads);
    }

    fn geglu(&self, gate_up: &Activations<D>, rows: usize, out: &mut Activations<D>) {
        self.geglu_rows(gate_up, rows, out);
    }
}

impl<D: Device> ProductOps for Cuda<D> {
    fn linear(&self, x: &Activations<D>, matrix: &Matrix<D>, rows: LinearRows, out: &mut Activations<D>) {
        self.product(x, matrix, (rows, None), out);
    }

    fn linear_geglu(
        &self,
        x: &Activations<D>,
        matrix: &Matrix<D>,
        rows: LinearRows,
        to: GatedRows<'_, Activations<D>>,
    ) {
        self.gated_product(x, matrix, LinearRows { to: 0, ..rows }, to);
    }

    fn logits(&self, x: &Activations<D>, output: OutputLayer<'_, Matrix<D>>, rows: usize, out: &mut Activations<D>) {
        self.product(x, output.table, (LinearRows::first(rows), output.softcap), out);
    }
}

impl<D: Device> AttentionOps for Cuda<D> {
    fn write_pages(&self, kv: KvColumns<'_, Activations<D>>, rows: PagedRows<'_>, to: LayerPagesMut<'_, Pages<D>>) {
        self.write_rows(kv, rows, to);
    }

    fn rope_and_write(
        &self,
        qkv: &mut Activations<D>,
        rows: RotaryRows<'_>,
        heads: RotaryHeads<'_, RopeTable<D>>,
        to: LayerPagesMut<'_, Pages<D>>,
    ) {
        self.rope_and_write_rows(qkv, rows, heads, to);
    }

    fn attend_full(
        &self,
        qkv: &Activations<D>,
        segments: &[Segment],
        attention: FullAttention<'_>,
        out: &mut Activations<D>,
    ) {
        assert_eq!(attention.precision, Precision::Bf16, "attention is in bfloat16");
        self.attend_segments(qkv, segments, attention, out);
    }

    fn attend_paged(
        &self,
        q: &Activations<D>,
        attention: PagedAttention<'_>,
        from: LayerPages<'_, Pages<D>>,
        out: &mut Activations<D>,
    ) {
        self.attend_pages(q, attention, from, out);
    }
}

impl<D: Device> SamplingOps for Cuda<D> {
    fn sample(&self, logits: &Activations<D>, draws: Draws<'_>, out: &mut Drawn<D>) {
        self.draw(logits, draws, out);
    }

    fn choose(
        &self,
        x: &Activations<D>,
        output: OutputLayer<'_, Matrix<D>>,
        draws: Draws<'_>,
        to: ChosenRows<'_, Activations<D>, Drawn<D>>,
    ) {
        let rows = draws.list.iter().map(|draw| draw.row as usize);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else { return };
        let rows = LinearRows { from: first, to: first, count: last + 1 - first };
        self.product(x, output.table, (rows, output.softcap), to.logits);
        self.draw(to.logits, draws, to.ids);
    }

    fn fetch(&self, drawn: &mut Drawn<D>) {
        self.fetch_drawn(drawn);
    }

    fn take(&self, drawn: &mut Drawn<D>, out: &mut Vec<Option<u32>>) {
        self.take_drawn(drawn, out);
    }

    fn score(&self, logits: &Activations<D>, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.score_rows(logits, asked, out);
    }

    fn best(&self, logits: &Activations<D>, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>) {
        self.list_best(logits, asked, rules, out);
    }
}
