//! The op vocabulary: one trait, implemented by the reference, the CPU and CUDA.
//!
//! Called by `model`. Every op takes flat ragged rows; nothing is padded. Shapes are `[rows, width]`,
//! row-major. Pages are addressed by page index; a table of page indices belongs to whoever calls.

use std::time::Duration;

pub use crate::error::{Error, Result};
use crate::sampling::{Choice, ScoreAsk, TokenScore};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};

/// Of a row of [`Backend::embed_drawn`] whose id was not drawn.
pub const NO_PLACE: u32 = u32::MAX;
/// Tokens that one page holds in [`KvFormat::F32`] and [`KvFormat::Bf16`], for every decoder layer.
pub const PAGE_TOKENS: usize = 16;

/// Number type of keys, values and attention, and of products whose weights are not quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// float32 weights, operands and accumulation.
    F32,
    /// bfloat16 weights and paged K/V; operands rounded to bfloat16 where the hardware multiplies it, else what is
    /// stored widened exactly and the rest left in float32; float32 accumulation.
    Bf16,
}

/// How a page stores keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// float32.
    F32,
    /// bfloat16.
    Bf16,
    /// `scale * q` with q in `-127 ..= 127`, one float32 scale for the key and one for the value of each token and head.
    Int8,
}

impl KvFormat {
    /// Tokens that one page holds, for every decoder layer.
    pub const fn page_tokens(self) -> usize {
        match self {
            Self::F32 | Self::Bf16 => PAGE_TOKENS,
            // As many bytes as in bfloat16, but for the scales.
            Self::Int8 => 2 * PAGE_TOKENS,
        }
    }
}

impl From<Precision> for KvFormat {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// Consecutive rows `start .. start + len` that form one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub start: u32,
    /// Rows.
    pub len: u32,
}

/// A sequence's pages: `tokens` positions held by `tables[first ..]`, [`KvFormat::page_tokens`] to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::NoUninit)]
#[repr(C)]
pub struct PageSpan {
    /// Index of the first page's entry in the flat page table.
    pub first: u32,
    /// Positions to be read.
    pub tokens: u32,
}

/// Pages of a batch of rows, as attention and `write_pages` read them.
#[derive(Debug, Clone, Copy)]
pub struct PagedRows<'a> {
    /// One span a row. `tokens` is how many positions the row may see (its own included).
    pub spans: &'a [PageSpan],
    /// Page indices that the spans point into.
    pub tables: &'a [u32],
    /// What those pages hold.
    pub format: KvFormat,
}

/// Heads and scores of one attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; query head `h` reads K/V head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Factor of the scores (`query_pre_attn_scalar ^ -0.5`).
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`, before any mask.
    pub softcap: Option<f32>,
    /// `attend_full`: keys further than this on either side are masked (both ends inclusive).
    /// `attend_paged`: only the last `window` positions are seen, the row's own included.
    pub window: Option<usize>,
}

impl AttentionShape {
    /// Width of the query part of a row.
    pub const fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }
    /// Width of the key (or value) part of a row.
    pub const fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Shape of a page pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageShape {
    /// Pages.
    pub pages: usize,
    /// Decoder layers that every page holds.
    pub layers: usize,
    /// K/V heads of a layer.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
}

/// What one launch of a kernel took of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelCost {
    /// Its name, or that of the library it belongs to.
    pub kernel: &'static str,
    /// From the end of what ran before it to its own.
    pub time: Duration,
    /// Bytes that it has to read or write at least; None: those of the op, which has no other kernel.
    pub bytes: Option<u64>,
}

/// A device that runs the ops. Buffers are the backend's own; each op says what it reads and writes.
///
/// Promise of every implementation: a row's result depends on that row's inputs alone, bit for bit, not
/// on the other rows of the batch, nor on the number of threads.
pub trait Backend: Send + 'static {
    /// Rows of activations, `[capacity, width]`.
    type Activations: Send;
    /// A weight in the layout the products stream.
    type Matrix: Send;
    /// A vector of norm weights.
    type Gain: Send;
    /// Cosines and sines of every position.
    type RopeTable: Send;
    /// The page pool: K and V of both attentions, for all layers.
    type Pages: Send;
    /// Ids that were drawn, where the device has them.
    type Drawn: Send;

    /// Name of the device and instruction set, for people.
    fn describe(&self) -> String;
    /// Waits until all that was asked for is done. Ops that return numbers wait by themselves; others may go on after they
    /// return, in the order in which they were asked for.
    fn wait(&self) {}
    /// Rows that are best computed at once where they are wide and not kept: as many as stay in a cache, or keep a device busy.
    fn rows_at_once(&self) -> usize {
        512
    }
    /// Whether the same step costs less when it comes again, so that it pays to make steps alike.
    fn replays_steps(&self) -> bool {
        false
    }
    /// Runs ops that return no numbers to the host and copy none from it, as one step: a backend may put them all off to its end.
    fn step(&self, ops: impl FnOnce()) {
        ops();
    }
    /// The same, once, where the device has a clock of its own: what each kernel took of those that were asked for up to each
    /// [`Self::mark`], from the one before or the beginning. None where ops are done when they return.
    fn timed_step(&self, ops: impl FnOnce()) -> Option<Vec<Vec<KernelCost>>> {
        ops();
        None
    }
    /// Within [`Self::timed_step`]: what was asked so far is timed apart from what follows.
    fn mark(&self) {}
    /// Bytes of a number of [`Self::activations`].
    fn number_bytes(&self) -> usize {
        4
    }
    /// Runs ops that may go on beside those that follow outside, until [`Self::join`]: neither must touch what the others write.
    fn aside(&self, ops: impl FnOnce()) {
        ops();
    }
    /// What follows waits for what went on aside.
    fn join(&self) {}

    /// Room for `rows` rows of `width` numbers, zeroed. Memory is taken only as it is touched.
    fn activations(&self, rows: usize, width: usize) -> Result<Self::Activations>;
    /// As [`Self::activations`], for numbers that must not be rounded to the type in which the device multiplies: the
    /// residual stream and logits.
    fn wide_activations(&self, rows: usize, width: usize) -> Result<Self::Activations> {
        self.activations(rows, width)
    }
    /// Packs parts, one below the other, into one matrix `[sum of rows, cols]`. Lookup tables are not quantised.
    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, usage: MatrixUse) -> Result<Self::Matrix>;
    /// Bytes that a product with a matrix reads.
    fn matrix_bytes(&self, matrix: &Self::Matrix) -> usize;
    /// Bytes that [`Self::choose`] reads of a table for [`MatrixUse::Output`], at least.
    fn choice_bytes(&self, table: &Self::Matrix) -> usize;
    /// A norm's weight, `[width]`, stored zero-centred: the norm multiplies by `1 + w`.
    fn gain(&self, weight: &WeightPart<'_>) -> Result<Self::Gain>;
    /// Angles `position * theta^(-2i / head_dim)` for positions below `positions`, in float32.
    fn rope_table(&self, positions: usize, head_dim: usize, theta: f32) -> Result<Self::RopeTable>;
    /// A pool of pages, each with room for any of these formats.
    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Self::Pages>;
    /// An empty list with room for `capacity` drawn ids.
    fn drawn(&self, capacity: usize) -> Result<Self::Drawn>;
    /// Bytes one page of such a pool takes.
    fn page_bytes(&self, shape: PageShape, formats: &[KvFormat]) -> usize;
    /// Writes rows from the host: `values` is `[rows, width]`.
    fn upload(&self, values: &[f32], into: &mut Self::Activations);
    /// Reads the first `rows` rows back to the host.
    fn download(&self, from: &Self::Activations, rows: usize) -> Vec<f32>;
    /// Copies rows: `out[i] = from[rows[i]]`.
    fn gather(&self, from: &Self::Activations, rows: &[u32], out: &mut Self::Activations);

    /// `out[i] = table[ids[i]] * scale`.
    fn embed(&self, table: &Self::Matrix, ids: &[u32], scale: f32, out: &mut Self::Activations);
    /// `out[i] = table[drawn[places[i]]] * scale`, by ids that the host may not know yet; rows whose place is
    /// [`NO_PLACE`] stay as they are, and so do, or not, those for which no id could be drawn.
    fn embed_drawn(&self, table: &Self::Matrix, ids: (&Self::Drawn, &[u32]), scale: f32, out: &mut Self::Activations);
    /// `out = x * rsqrt(mean(x^2) + eps) * (1 + w)`, in float32, for each of `rows` rows.
    fn rms_norm(&self, x: &Self::Activations, gain: &Self::Gain, eps: f32, rows: usize, out: &mut Self::Activations);
    /// The seam between two sub-layers in one pass:
    /// `residual += rms_norm(y, post); x = rms_norm(residual, pre)`.
    fn sandwich(
        &self,
        residual: &mut Self::Activations,
        y: &Self::Activations,
        gains: Sandwich<'_, Self::Gain>,
        rows: usize,
        x: &mut Self::Activations,
    );
    /// `out[to + i] = x[from + i] . matrix^T` for `count` rows.
    fn linear(&self, x: &Self::Activations, matrix: &Self::Matrix, rows: LinearRows, out: &mut Self::Activations);
    /// Rotates query and key heads in place (half-split pairs `(i, i + head_dim / 2)`), one row a position. A row
    /// is `[heads + kv_heads (+ anything)] * head_dim` wide.
    fn rope(&self, qkv: &mut Self::Activations, positions: &[u32], shape: &AttentionShape, table: &Self::RopeTable);
    /// Writes row `i`'s K and V, found at columns `kv_column ..` (K, then V), at position
    /// `spans[i].tokens - 1` of its pages, in the rows' format.
    fn write_pages(
        &self,
        kv: &Self::Activations,
        kv_column: usize,
        rows: PagedRows<'_>,
        layer: usize,
        pages: &mut Self::Pages,
    );
    /// [`Self::rope`] of rows `[q | k | v]`, then [`Self::write_pages`] of their keys and values, which need not stay in the rows.
    fn rope_and_write(
        &self,
        qkv: &mut Self::Activations,
        (positions, rows): (&[u32], PagedRows<'_>),
        (shape, table): (&AttentionShape, &Self::RopeTable),
        layer: usize,
        pages: &mut Self::Pages,
    ) {
        self.rope(qkv, positions, shape, table);
        self.write_pages(qkv, shape.query_width(), rows, layer, pages);
    }
    /// Bidirectional attention inside each segment (they follow each other from row 0, without gaps), over rows `[q | k | v]` of `qkv`; `out` is
    /// `[rows, heads * head_dim]`.
    fn attend_full(
        &self,
        qkv: &Self::Activations,
        segments: &[Segment],
        shape: &AttentionShape,
        precision: Precision,
        out: &mut Self::Activations,
    );
    /// Attention of each row's query (columns `0 .. heads * head_dim` of `q`) over its pages.
    fn attend_paged(
        &self,
        q: &Self::Activations,
        rows: PagedRows<'_>,
        shape: &AttentionShape,
        layer: usize,
        pages: &Self::Pages,
        out: &mut Self::Activations,
    );
    /// `out[:, j] = gelu_tanh(gate_up[:, j]) * gate_up[:, width + j]`.
    fn geglu(&self, gate_up: &Self::Activations, rows: usize, out: &mut Self::Activations);
    /// `out[i] = gelu_tanh(gate) * up` of `[gate | up] = x[from + i] . matrix^T`, for `count` rows: [`Self::linear`], then
    /// [`Self::geglu`], by way of `gate_up` or not.
    fn linear_geglu(
        &self,
        x: &Self::Activations,
        matrix: &Self::Matrix,
        rows: LinearRows,
        (gate_up, out): (&mut Self::Activations, &mut Self::Activations),
    ) {
        self.linear(x, matrix, LinearRows { to: 0, ..rows }, gate_up);
        self.geglu(gate_up, rows.count, out);
    }
    /// `out = cap * tanh((x . table^T) / cap)`; without a cap, the plain product.
    fn logits(
        &self,
        x: &Self::Activations,
        table: &Self::Matrix,
        softcap: Option<f32>,
        rows: usize,
        out: &mut Self::Activations,
    );
    /// Chooses one id for each draw, by the definition in [`crate::sampling`], and appends it to `out`; `None` for a
    /// row whose logits are not numbers.
    fn sample(&self, logits: &Self::Activations, draws: &[Draw], end_ids: &[u32], out: &mut Self::Drawn);
    /// Chooses one id for each draw from rows of `x` and appends it to `out`: what [`Self::logits`] and
    /// [`Self::sample`] would choose, without computing logits that cannot matter. Only for draws with
    /// [`Choice::is_narrow`], from a table for [`MatrixUse::Output`]; `logits` is working memory, `[rows, vocab]`.
    fn choose(
        &self,
        x: &Self::Activations,
        output: Output<'_, Self::Matrix>,
        draws: &[Draw],
        logits: &mut Self::Activations,
        out: &mut Self::Drawn,
    );
    /// Begins to bring drawn ids to the host, for a [`Self::take`] that is not to wait for what is asked in between.
    fn fetch(&self, _: &mut Self::Drawn) {}
    /// Waits for drawn ids, appends them to `out` and empties the list, of which [`Self::embed_drawn`] may still read.
    fn take(&self, drawn: &mut Self::Drawn, out: &mut Vec<Option<u32>>);
    /// Log-softmax of each asked row at an id, with the id's rank and the most probable ids; appended to `out`. No
    /// log-probability of a row is a number where one of its logits is none or the largest is infinite; minus infinity is
    /// that of an id whose logit is so among others that are finite.
    fn score(&self, logits: &Self::Activations, asked: &[ScoreAsk], out: &mut Vec<TokenScore>);
}

/// The speed of a device's memory: the floor that a decode step is measured against.
pub trait Bandwidth {
    /// Bytes a second, measured now; takes about half a second.
    ///
    /// # Errors
    /// When there is no memory to measure with.
    fn bytes_per_s(&self) -> Result<f64>;
}

/// Weights of a [`Backend::sandwich`].
#[derive(Debug, Clone, Copy)]
pub struct Sandwich<'a, Gain> {
    /// Norm of the sub-layer's output.
    pub post: &'a Gain,
    /// Norm before the next sub-layer.
    pub pre: &'a Gain,
    /// Epsilon of both.
    pub eps: f32,
}

/// The output layer of a [`Backend::choose`].
#[derive(Debug, Clone, Copy)]
pub struct Output<'a, Matrix> {
    /// One row for each id.
    pub table: &'a Matrix,
    /// Logits become `cap * tanh(logit / cap)`.
    pub softcap: Option<f32>,
    /// Ids that a draw may forbid.
    pub end_ids: &'a [u32],
}

/// Which rows a [`Backend::linear`] reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearRows {
    /// First row read.
    pub from: usize,
    /// First row written.
    pub to: usize,
    /// Rows.
    pub count: usize,
}

impl LinearRows {
    /// Rows `0 .. count` of both sides.
    pub const fn first(count: usize) -> Self {
        Self { from: 0, to: 0, count }
    }
}

/// One id to be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Row of the logits.
    pub row: u32,
    /// How to choose.
    pub choice: Choice,
}
