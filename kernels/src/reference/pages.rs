//! Pages of the reference: keys and values as floats, rounded to what their format keeps.
//!
//! Written and read by `attention`.

use crate::math::round_bf16;
use crate::paging::{KvFormat, PageCopy, PageShape, PageSpan, PagedRows};
use crate::quantize::{Scheme, dequantize_row, quantize_row};

/// Keys and values of every page: `[page][layer][k or v][head][position][head_dim]`.
#[derive(Debug, Clone)]
pub struct Pages {
    shape: PageShape,
    /// Positions for which every page has room.
    page_tokens: usize,
    data: Vec<f32>,
}

/// A head of one layer at one position.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadPosition {
    pub layer: usize,
    /// Counts the keys of all heads, then the values of all heads.
    pub head: usize,
    pub position: usize,
}

impl Pages {
    pub(super) fn new(shape: PageShape, formats: &[KvFormat]) -> Self {
        let page_tokens = formats.iter().map(|format| format.page_tokens()).max().unwrap_or(0);
        let mut pages = Self { shape, page_tokens, data: Vec::new() };
        pages.data.resize(shape.pages * pages.page_numbers(), 0.0);
        pages
    }

    /// Numbers of one page.
    pub(super) fn page_numbers(&self) -> usize {
        self.shape.layers * 2 * self.shape.kv_heads * self.page_tokens * self.shape.head_dim
    }

    /// Index of the first number of a head at a position of a sequence.
    fn start(&self, span: &PageSpan, rows: PagedRows<'_>, at: HeadPosition) -> usize {
        let tokens = rows.format.page_tokens();
        let page = rows.tables[span.first as usize + at.position / tokens];
        let block = (at.layer * 2 * self.shape.kv_heads + at.head) * self.page_tokens + at.position % tokens;
        page as usize * self.page_numbers() + block * self.shape.head_dim
    }

    /// Writes `[k | v]` at the span's last position.
    pub(super) fn write(&mut self, kv: &[f32], span: &PageSpan, rows: PagedRows<'_>, layer: usize) {
        let (position, dim) = (span.tokens as usize - 1, self.shape.head_dim);
        for (head, values) in kv.chunks(dim).take(2 * self.shape.kv_heads).enumerate() {
            let start = self.start(span, rows, HeadPosition { layer, head, position });
            store(rows.format, values, &mut self.data[start..start + dim]);
        }
    }

    /// Copies whole pages.
    pub(super) fn copy(&mut self, copies: &[PageCopy]) {
        PageCopy::check(copies, self.shape.pages);
        let numbers = self.page_numbers();
        for copy in copies {
            let [from, to] = [copy.from, copy.to].map(|page| page as usize * numbers);
            self.data.copy_within(from..from + numbers, to);
        }
    }

    /// Key heads, which are as many as value heads.
    pub(super) const fn kv_heads(&self) -> usize {
        self.shape.kv_heads
    }

    /// A head's key or value at a position of a sequence.
    pub(super) fn read(&self, span: &PageSpan, rows: PagedRows<'_>, at: HeadPosition) -> &[f32] {
        &self.data[self.start(span, rows, at)..][..self.shape.head_dim]
    }
}

/// One head's key or value as a page gives it back.
fn store(format: KvFormat, values: &[f32], out: &mut [f32]) {
    match format {
        KvFormat::F32 => out.copy_from_slice(values),
        KvFormat::Bf16 => out.iter_mut().zip(values).for_each(|(out, &value)| *out = round_bf16(value)),
        KvFormat::Int8 => {
            let (mut integers, mut scale) = (vec![0; values.len()], [0; 4]);
            quantize_row(Scheme::Int8, values, &mut integers, &mut scale);
            dequantize_row(Scheme::Int8, &integers, &scale, out);
        }
    }
}
