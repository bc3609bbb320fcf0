//! The CUDA backend: bfloat16 operands, float32 sums, kernels of `kernels/cu` on a device's stream.
//!
//! Made by `server` and by tests. [`Device`] is all it knows of the device, so the same code launches the same kernels on a GPU and,
//! through the shim, on the processor. Heads, and the halves of gated rows, are multiples of 8 wide; heads at most 256.

mod attend_full;
mod attend_paged;
mod device;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod library;
mod pages;
mod product;
mod rows;
mod sample;
mod score;
#[cfg(feature = "cuda-shim")]
mod shim;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use device::{Device, LargeProduct, Launch, Memory};
#[cfg(feature = "cuda")]
pub use driver::{Driver, is_present};
pub use pages::Pages;
pub use product::Matrix;
pub use rows::{Activations, Gain, RopeTable};
#[cfg(feature = "cuda-shim")]
pub use shim::Shim;

use crate::backend::{
    AttentionShape, Backend, Draw, KvFormat, LinearRows, Output, PageShape, PagedRows, Precision, Result, Sandwich,
    Segment,
};
use crate::reference::inverse_frequency;
use crate::sampling::{ScoreAsk, TokenScore};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};
use rows::{Number, write_row};

/// Ops on a device.
pub struct Cuda<D: Device> {
    device: D,
    /// Lists of the op that is being launched: work is done in order, so the next op's may follow in the same place.
    lists: Mutex<Memory<D>>,
    /// Sums of the parts that attention over pages is split into.
    parts: Mutex<Memory<D>>,
}

impl<D: Device> Cuda<D> {
    /// A backend on a device.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn new(device: D) -> Result<Self> {
        let lists = Mutex::new(Memory::new(&device, 1 << 16, "lists")?);
        let parts = Mutex::new(Memory::new(&device, 1 << 20, "parts of attention")?);
        Ok(Self { device, lists, parts })
    }

    fn device(&self) -> &D {
        &self.device
    }

    fn launch<P: Copy>(&self, kernel: &'static str, grid: [u32; 3], (threads, shared): (u32, usize), params: &P) {
        if grid.contains(&0) {
            return;
        }
        self.device.launch(&Launch {
            kernel,
            grid,
            threads,
            shared_bytes: shared,
            params: std::ptr::from_ref(params).cast(),
            params_bytes: size_of::<P>(),
        });
    }

    /// Copies lists to the device, each at a multiple of 16 bytes, and says where they are.
    fn lists<const N: usize>(&self, lists: [&[u32]; N]) -> [u64; N] {
        let mut bytes: Vec<u8> = Vec::new();
        let offsets = lists.map(|list| {
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            let offset = bytes.len();
            bytes.extend(list.iter().flat_map(|word| word.to_le_bytes()));
            offset as u64
        });
        let address = self.room(&self.lists, bytes.len(), "lists");
        self.device.write(&bytes, address);
        offsets.map(|offset| address + offset)
    }

    fn parts(&self, bytes: usize) -> u64 {
        self.room(&self.parts, bytes, "parts of attention")
    }

    /// Working memory of at least `bytes`. It grows by doubling, so it soon stops growing.
    fn room(&self, memory: &Mutex<Memory<D>>, bytes: usize, purpose: &'static str) -> u64 {
        let mut memory = locked(memory);
        if memory.bytes() < bytes {
            let larger = bytes.next_power_of_two();
            *memory = Memory::new(&self.device, larger, purpose)
                .unwrap_or_else(|error| panic!("a step needs more working memory than the device has: {error}"));
        }
        memory.address()
    }

    fn float32(
        &self,
        rows: usize,
        width: usize,
        fill: impl Fn(usize, &mut [f32]),
        purpose: &'static str,
    ) -> Result<Memory<D>> {
        let pitch = width.next_multiple_of(8);
        let mut bytes = vec![0; rows * pitch * 4];
        let mut values = vec![0.0; width];
        for (row, out) in bytes.chunks_exact_mut(pitch * 4).enumerate() {
            fill(row, &mut values);
            write_row(&values, Number::F32, out);
        }
        let memory = Memory::new(&self.device, bytes.len(), purpose)?;
        self.device.write(&bytes, memory.address());
        Ok(memory)
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

    fn describe(&self) -> String {
        self.device.describe()
    }

    fn activations(&self, rows: usize, width: usize) -> Result<Activations<D>> {
        Activations::new(&self.device, rows, width, Number::Bf16)
    }

    fn wide_activations(&self, rows: usize, width: usize) -> Result<Activations<D>> {
        Activations::new(&self.device, rows, width, Number::F32)
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
        Pages::new(&self.device, shape, formats)
    }

    fn page_bytes(&self, shape: PageShape, _: &[KvFormat]) -> usize {
        pages::page_numbers(shape) * Number::Bf16.bytes()
    }

    fn upload(&self, values: &[f32], into: &mut Activations<D>) {
        into.upload(&self.device, values);
    }

    fn download(&self, from: &Activations<D>, rows: usize) -> Vec<f32> {
        from.download(&self.device, rows)
    }

    fn gather(&self, from: &Activations<D>, rows: &[u32], out: &mut Activations<D>) {
        self.gather_rows(from, rows, out);
    }

    fn embed(&self, table: &Matrix<D>, ids: &[u32], scale: f32, out: &mut Activations<D>) {
        self.embed_rows(table, ids, scale, out);
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

    fn sample(&self, logits: &Activations<D>, draws: &[Draw], end_ids: &[u32], out: &mut Vec<Option<u32>>) {
        self.draw(logits, draws, end_ids, out);
    }

    fn choose(
        &self,
        x: &Activations<D>,
        Output { table, softcap, end_ids }: Output<'_, Matrix<D>>,
        draws: &[Draw],
        logits: &mut Activations<D>,
        out: &mut Vec<Option<u32>>,
    ) {
        let rows = draws.iter().map(|draw| draw.row as usize);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else { return };
        let rows = LinearRows { from: first, to: first, count: last + 1 - first };
        self.product(x, table, (rows, softcap), logits);
        self.draw(logits, draws, end_ids, out);
    }

    fn score(&self, logits: &Activations<D>, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        self.answer(logits, asked, out);
    }
}
