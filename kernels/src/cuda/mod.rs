//! The CUDA backend: bfloat16 operands, float32 sums, kernels of `kernels/cu` on a device's stream.
//!
//! Made by `server` and by tests. [`Device`] is all it knows of the device, so the same code launches the same kernels on a GPU and,
//! through the shim, on the processor. Heads, and the halves of gated rows, are multiples of 8 wide; heads at most 256.

#[cfg(not(feature = "cuda"))]
mod absent;
mod attend_full;
mod attend_paged;
mod bandwidth;
mod device;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod library;
mod lists;
mod memory;
mod pages;
mod product;
mod queue;
mod rows;
mod sample;
mod score;
#[cfg(feature = "cuda-shim")]
mod shim;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(not(feature = "cuda"))]
pub use absent::{Driver, is_present};
pub use device::{Device, LargeProduct, Launch, Params, Work};
#[cfg(feature = "cuda")]
pub use driver::{Driver, is_present};
pub use pages::Pages;
pub use product::Matrix;
pub use rows::{Activations, Gain, RopeTable};
pub use sample::Drawn;
#[cfg(feature = "cuda-shim")]
pub use shim::Shim;

use crate::backend::{
    AttentionShape, Backend, Draw, Error, KernelCost, KvFormat, LinearRows, Output, PageShape, PagedRows, Precision,
    Result, Sandwich, Segment,
};
use crate::quantize::Scheme;
use crate::reference::inverse_frequency;
use crate::sampling::{ScoreAsk, TokenScore};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};
use memory::{Heap, Memory};
use product::ProductShape;
use queue::Queue;
use rows::Number;

/// Whether the kernels compute with numbers of these kinds.
///
/// # Errors
/// [`Error::Unavailable`], for the first that they do not.
pub fn computes(precision: Precision, weights: Option<Scheme>, pages: KvFormat) -> Result<()> {
    let wanted = match (precision, weights, pages) {
        (Precision::F32, ..) => "float32".to_owned(),
        (_, Some(Scheme::Int4), _) => "Int4 weights".to_owned(),
        (.., KvFormat::F32 | KvFormat::Int8) => format!("{pages:?} pages"),
        (Precision::Bf16, None | Some(Scheme::Int8), KvFormat::Bf16) => return Ok(()),
    };
    Err(Error::Unavailable { wanted: format!("{wanted} on a GPU"), available: "Bf16, and Int8 weights".into() })
}

/// Ops on a device.
pub struct Cuda<D: Device> {
    heap: Heap<D>,
    main: Queue<D>,
    /// For ops that run beside those of `main`.
    side: Queue<D>,
    is_aside: AtomicBool,
    /// What `score` reads back.
    answers: Mutex<Memory<D>>,
    /// The kernel that was found to be the fastest for each shape of product.
    products: Mutex<HashMap<ProductShape, usize>>,
    /// Products of many rows are not given to the device's library, which may round otherwise than the kernels of few.
    deterministic: bool,
}

impl<D: Device> Cuda<D> {
    /// A backend on a device. The promise of [`Backend`], that a row's result depends on that row alone, holds among numbers of rows
    /// up to 64, among larger ones up to 256, and among all above, for which the device's library adds up in other orders.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn new(device: D) -> Result<Self> {
        let heap = Heap::new(device.clone());
        let side = Queue::new(device.fork()?, heap.clone())?;
        let main = Queue::new(device, heap.clone())?;
        let answers = Mutex::new(Memory::new(&heap, 1 << 16, "answers")?);
        let (is_aside, products) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { heap, main, side, is_aside, answers, products, deterministic: false })
    }

    /// The same, and its promise holds for any two numbers of rows.
    #[must_use]
    pub fn deterministic(self) -> Self {
        Self { deterministic: true, ..self }
    }

    /// The same, and kernels of a step may begin before the one before is done, with what does not depend on it.
    #[must_use]
    pub fn overlapping(self) -> Self {
        Self { main: self.main.overlapping(), ..self }
    }

    /// Steps that are replayed instead of launched op by op.
    pub fn graphs(&self) -> usize {
        self.main.graphs()
    }

    /// Where ops go now.
    fn queue(&self) -> &Queue<D> {
        if self.is_aside.load(Ordering::Relaxed) { &self.side } else { &self.main }
    }
}

/// Working memory: whatever a panic left in it is written anew.
fn locked<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        self.is_aside.store(true, Ordering::Relaxed);
        ops();
        self.is_aside.store(false, Ordering::Relaxed);
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
        weight.check()?;
        let (rows, cols) = weight.shape();
        assert_eq!(rows, 1, "a norm has one row of weights");
        let fill = |_: usize, values: &mut [f32]| {
            weight.read_row(0, values);
            values.iter_mut().for_each(|value| *value += 1.0);
        };
        Ok(Gain { memory: self.float32(1, cols, fill, "weights of norms")?, width: cols })
    }

    fn rope_table(&self, positions: usize, head_dim: usize, theta: f32) -> Result<RopeTable<D>> {
        assert!(head_dim.is_multiple_of(8), "heads are multiples of 8 wide");
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half).map(|i| inverse_frequency(i, head_dim, theta)).collect();
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
