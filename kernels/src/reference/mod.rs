//! Every op in its slow, obvious form: scalar float32, textbook order.
//!
//! The measure of all other backends (`tests/cases`), and a backend in its own right, so that a whole model
//! can be run on it. Formulas follow Hugging Face transformers 5.17, `modeling_t5gemma.py`, eager attention.

mod attention;

mod quantized;

use crate::backend::{
    AttentionShape, Backend, Draw, KvFormat, LinearRows, Output, PageShape, PagedRows, Precision, Result, Sandwich,
    Segment,
};
use crate::math::round_bf16;
use crate::sampling::{Candidate, DrawnIds, ScoreAsk, TokenScore, best_first, choose};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};
use quantized::Quantized;

/// The reference backend.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// What [`Precision::Bf16`] rounds.
    pub rounding: Rounding,
}

/// What is rounded to bfloat16, beside weights and K/V that are kept so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Nothing else: the rest is widened exactly, or already float32.
    Storage,
    /// The operands of products, as hardware that multiplies bfloat16 takes them.
    Operands,
    /// The operands, and all rows but the wide ones, which are kept in bfloat16.
    Rows,
}

/// Rows of numbers.
#[derive(Debug, Clone)]
pub struct Rows {
    data: Vec<f32>,
    width: usize,
    /// What is written is rounded to bfloat16.
    rounds: bool,
}

impl Rows {
    fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.width..][..self.width]
    }
    fn set(&mut self, index: usize, values: &[f32]) {
        let rounds = self.rounds;
        let row = &mut self.data[index * self.width..][..self.width];
        row.iter_mut().zip(values).for_each(|(out, &value)| *out = if rounds { round_bf16(value) } else { value });
    }
}

/// A weight `[rows, cols]`.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// As float32, rounded to its precision or quantised.
    rows: Rows,
    count: usize,
    precision: Precision,
    /// What it multiplies with where it is quantised.
    quantized: Option<Quantized>,
}

/// K and V of every page, rounded to what they are stored as: `[page][layer][k or v][head][position][head_dim]`.
#[derive(Debug, Clone)]
pub struct Pages {
    shape: PageShape,
    /// Positions for which every page has room.
    page_tokens: usize,
    data: Vec<f32>,
}

/// Angle of pair `i` at a position: `position * theta^(-2i / head_dim)`, all in float32 as transformers computes it.
pub fn rope_angle(position: usize, i: usize, head_dim: usize, theta: f32) -> f32 {
    position as f32 * inverse_frequency(i, head_dim, theta)
}

/// `theta^(-2i / head_dim)` in float32.
pub fn inverse_frequency(i: usize, head_dim: usize, theta: f32) -> f32 {
    1.0 / theta.powf((2 * i) as f32 / head_dim as f32)
}

/// `x * rsqrt(mean(x^2) + eps) * (1 + w)`; `gain` holds `1 + w`.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let mean = x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
    let factor = 1.0 / (mean + eps).sqrt();
    x.iter().zip(gain).map(|(x, gain)| x * factor * gain).collect()
}

/// `cap * tanh(x / cap)`.
pub fn softcap(x: f32, cap: Option<f32>) -> f32 {
    cap.map_or(x, |cap| cap * (x / cap).tanh())
}

/// GELU in its tanh form: `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
pub fn gelu_tanh(x: f32) -> f32 {
    0.5 * x * (1.0 + ((2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}

impl Reference {
    /// An operand as the products see it.
    fn operand(self, precision: Precision, x: f32) -> f32 {
        if self.rounding != Rounding::Storage && precision == Precision::Bf16 { round_bf16(x) } else { x }
    }

    fn product(self, x: &[f32], matrix: &Matrix) -> Vec<f32> {
        // Where rows are rounded they are not quantised: only the weights are.
        if let Some(quantized) = matrix.quantized.as_ref().filter(|_| self.rounding != Rounding::Rows) {
            return quantized.product(x);
        }
        let dot = |row: usize| {
            let weights = matrix.rows.row(row);
            x.iter().zip(weights).fold(0.0, |sum, (x, w)| sum + self.operand(matrix.precision, *x) * w)
        };
        (0..matrix.count).map(dot).collect()
    }
}

impl Backend for Reference {
    type Activations = Rows;
    type Matrix = Matrix;
    type Gain = Vec<f32>;
    type RopeTable = (usize, f32);
    type Pages = Pages;
    type Drawn = DrawnIds;

    fn describe(&self) -> String {
        "reference".into()
    }

    fn activations(&self, rows: usize, width: usize) -> Result<Rows> {
        Ok(Rows { data: vec![0.0; rows * width], width, rounds: self.rounding == Rounding::Rows })
    }

    fn wide_activations(&self, rows: usize, width: usize) -> Result<Rows> {
        Ok(Rows { data: vec![0.0; rows * width], width, rounds: false })
    }

    fn matrix(&self, parts: &[WeightPart<'_>], format: WeightFormat, _: MatrixUse) -> Result<Matrix> {
        let cols = parts[0].shape().1;
        let mut data = Vec::new();
        for part in parts {
            part.check()?;
            for index in 0..part.shape().0 {
                let first = data.len();
                data.resize(first + cols, 0.0);
                part.read_row(index, &mut data[first..]);
            }
        }
        let (precision, quantized) = match format {
            WeightFormat::F32 => (Precision::F32, None),
            WeightFormat::Bf16 => (Precision::Bf16, None),
            WeightFormat::Quantized(scheme) => (Precision::F32, Some(Quantized::pack(parts, scheme, &mut data))),
        };
        if precision == Precision::Bf16 {
            data.iter_mut().for_each(|w| *w = round_bf16(*w));
        }
        Ok(Matrix { count: data.len() / cols, rows: Rows { data, width: cols, rounds: false }, precision, quantized })
    }

    fn matrix_bytes(&self, matrix: &Matrix) -> usize {
        matrix.rows.data.len() * 4
    }

    fn choice_bytes(&self, table: &Matrix) -> usize {
        self.matrix_bytes(table)
    }

    fn gain(&self, weight: &WeightPart<'_>) -> Result<Vec<f32>> {
        let mut values = vec![0.0; weight.shape().0 * weight.shape().1];
        values.chunks_mut(weight.shape().1).enumerate().for_each(|(row, out)| weight.read_row(row, out));
        Ok(values.into_iter().map(|w| 1.0 + w).collect())
    }

    fn rope_table(&self, _: usize, head_dim: usize, theta: f32) -> Result<(usize, f32)> {
        Ok((head_dim, theta))
    }

    fn pages(&self, shape: PageShape, formats: &[KvFormat]) -> Result<Pages> {
        Ok(Pages::new(shape, formats))
    }

    fn page_bytes(&self, shape: PageShape, formats: &[KvFormat]) -> usize {
        Pages::new(PageShape { pages: 0, ..shape }, formats).page_numbers() * 4
    }

    fn drawn(&self, capacity: usize) -> Result<DrawnIds> {
        Ok(DrawnIds::with_capacity(capacity))
    }

    fn upload(&self, values: &[f32], into: &mut Rows) {
        let width = into.width;
        values.chunks(width).enumerate().for_each(|(row, values)| into.set(row, values));
    }

    fn download(&self, from: &Rows, rows: usize) -> Vec<f32> {
        from.data[..rows * from.width].to_vec()
    }

    fn gather(&self, from: &Rows, rows: &[u32], out: &mut Rows) {
        for (index, &row) in rows.iter().enumerate() {
            out.set(index, from.row(row as usize));
        }
    }

    fn embed(&self, table: &Matrix, ids: &[u32], scale: f32, out: &mut Rows) {
        for (index, &id) in ids.iter().enumerate() {
            let scaled: Vec<f32> = table.rows.row(id as usize).iter().map(|w| w * scale).collect();
            out.set(index, &scaled);
        }
    }

    fn embed_drawn(&self, table: &Matrix, (drawn, places): (&DrawnIds, &[u32]), scale: f32, out: &mut Rows) {
        for (row, id) in drawn.at(places) {
            let scaled: Vec<f32> = table.rows.row(id as usize).iter().map(|w| w * scale).collect();
            out.set(row, &scaled);
        }
    }

    fn rms_norm(&self, x: &Rows, gain: &Vec<f32>, eps: f32, rows: usize, out: &mut Rows) {
        for row in 0..rows {
            out.set(row, &rms_norm(x.row(row), gain, eps));
        }
    }

    fn sandwich(&self, residual: &mut Rows, y: &Rows, gains: Sandwich<'_, Vec<f32>>, rows: usize, x: &mut Rows) {
        for row in 0..rows {
            let normed = rms_norm(y.row(row), gains.post, gains.eps);
            let sum: Vec<f32> = residual.row(row).iter().zip(normed).map(|(r, y)| r + y).collect();
            residual.set(row, &sum);
            x.set(row, &rms_norm(residual.row(row), gains.pre, gains.eps));
        }
    }

    fn linear(&self, x: &Rows, matrix: &Matrix, rows: LinearRows, out: &mut Rows) {
        for row in 0..rows.count {
            out.set(rows.to + row, &self.product(x.row(rows.from + row), matrix));
        }
    }

    fn rope(&self, qkv: &mut Rows, positions: &[u32], shape: &AttentionShape, &(dim, theta): &(usize, f32)) {
        for (row, &position) in positions.iter().enumerate() {
            let mut turned = qkv.row(row).to_vec();
            for head in turned[..(shape.heads + shape.kv_heads) * dim].chunks_mut(dim) {
                let old = head.to_vec();
                for i in 0..dim / 2 {
                    let (sin, cos) = rope_angle(position as usize, i, dim, theta).sin_cos();
                    head[i] = old[i] * cos - old[i + dim / 2] * sin;
                    head[i + dim / 2] = old[i + dim / 2] * cos + old[i] * sin;
                }
            }
            qkv.set(row, &turned);
        }
    }

    fn write_pages(&self, kv: &Rows, kv_column: usize, rows: PagedRows<'_>, layer: usize, pages: &mut Pages) {
        for (index, span) in rows.spans.iter().enumerate() {
            pages.write(&kv.row(index)[kv_column..], span, rows, layer);
        }
    }

    fn attend_full(
        &self,
        qkv: &Rows,
        segments: &[Segment],
        shape: &AttentionShape,
        precision: Precision,
        out: &mut Rows,
    ) {
        for segment in segments {
            for query in 0..segment.len as usize {
                let values = attention::full(*self, qkv, segment, query, (shape, precision));
                out.set(segment.start as usize + query, &values);
            }
        }
    }

    fn attend_paged(
        &self,
        q: &Rows,
        rows: PagedRows<'_>,
        shape: &AttentionShape,
        layer: usize,
        pages: &Pages,
        out: &mut Rows,
    ) {
        for (row, span) in rows.spans.iter().enumerate() {
            let values = attention::paged(*self, q.row(row), (span, rows), shape, (pages, layer));
            out.set(row, &values);
        }
    }

    fn geglu(&self, gate_up: &Rows, rows: usize, out: &mut Rows) {
        let width = out.width;
        for row in 0..rows {
            let (gate, up) = gate_up.row(row).split_at(width);
            let gated: Vec<f32> = gate.iter().zip(up).map(|(g, u)| gelu_tanh(*g) * u).collect();
            out.set(row, &gated);
        }
    }

    fn logits(&self, x: &Rows, table: &Matrix, cap: Option<f32>, rows: usize, out: &mut Rows) {
        for row in 0..rows {
            let capped: Vec<f32> = self.product(x.row(row), table).into_iter().map(|z| softcap(z, cap)).collect();
            out.set(row, &capped);
        }
    }

    fn sample(&self, logits: &Rows, draws: &[Draw], end_ids: &[u32], out: &mut DrawnIds) {
        out.list().extend(draws.iter().map(|draw| choose(logits.row(draw.row as usize), &draw.choice, end_ids)));
    }

    fn choose(
        &self,
        x: &Rows,
        Output { table, softcap, end_ids }: Output<'_, Matrix>,
        draws: &[Draw],
        logits: &mut Rows,
        out: &mut DrawnIds,
    ) {
        let rows = draws.iter().map(|draw| draw.row as usize + 1).max().unwrap_or(0);
        self.logits(x, table, softcap, rows, logits);
        self.sample(logits, draws, end_ids, out);
    }

    fn take(&self, drawn: &mut DrawnIds, out: &mut Vec<Option<u32>>) {
        drawn.take(out);
    }

    fn score(&self, logits: &Rows, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        out.extend(asked.iter().map(|ask| score(logits.row(ask.row as usize), ask)));
    }
}

/// Log-softmax of a row at an id and at the best ids.
fn score(logits: &[f32], ask: &ScoreAsk) -> TokenScore {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    // Not a number where one of the logits is none, or where nothing can be taken from the largest.
    let log_sum = largest + logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum::<f64>().ln();
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|&a, &b| best_first((a, logits[a as usize]), (b, logits[b as usize])));
    let candidate = |rank: usize| {
        let log_prob = (f64::from(logits[order[rank] as usize]) - log_sum) as f32;
        Candidate { id: order[rank], log_prob, rank: rank as u32 }
    };
    let own = order.iter().position(|&other| other == ask.id).expect("the id is in the vocabulary");
    let top = (0..(ask.top as usize).min(order.len())).map(candidate).collect();
    TokenScore { chosen: candidate(own), top }
}
