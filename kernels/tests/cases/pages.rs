//! Pages of sequences among pages of noise.

use kernels::{Backend, KvColumns, KvFormat, LayerPagesMut, PageShape, PageSpan, PagedRows, Precision};

use super::numbers::upload;

/// Formats of pages, each beside a precision whose pages the pool holds as well.
pub const FORMATS: [(KvFormat, Precision); 4] = [
    (KvFormat::F32, Precision::F32),
    (KvFormat::Bf16, Precision::Bf16),
    (KvFormat::Int8, Precision::F32),
    (KvFormat::Int8, Precision::Bf16),
];
const NOISE: f32 = 1e4;

/// Deals pages in a scattered order, each once.
pub struct Dealer {
    order: Vec<u32>,
}

/// Pages of sequences.
pub struct Dealt {
    pub spans: Vec<PageSpan>,
    pub tables: Vec<u32>,
    pub format: KvFormat,
}

/// Sequences on their pages: keys and values `[k | v]` of every position, one sequence after the other.
pub struct Sequences<'a> {
    pub rows: PagedRows<'a>,
    pub kv: &'a [f32],
}

impl Dealer {
    pub fn new(pages: usize) -> Self {
        let mut order: Vec<u32> = (0..pages as u32).collect();
        order.sort_by_key(|&page| std::cmp::Reverse(page.wrapping_mul(0x9E37_79B9)));
        Self { order }
    }

    /// Pages for sequences of these lengths.
    pub fn deal(&mut self, lens: &[u32], format: KvFormat) -> Dealt {
        let (mut spans, mut tables) = (Vec::new(), Vec::new());
        for &len in lens {
            spans.push(PageSpan { first: tables.len() as u32, tokens: len });
            let rest = self.order.len() - (len as usize).div_ceil(format.page_tokens());
            tables.extend(self.order.drain(rest..).rev());
        }
        Dealt { spans, tables, format }
    }
}

impl Dealt {
    /// One row for each sequence, which sees all of it.
    pub fn rows(&self) -> PagedRows<'_> {
        PagedRows { spans: &self.spans, tables: &self.tables, format: self.format }
    }
}

/// A pool of pages in the formats of some sequences and in `other`. Every position of every page holds noise in each
/// format, until layer 1 gets the sequences' keys and values position by position.
pub fn fill<B: Backend>(backend: &B, shape: PageShape, other: Precision, sequences: &[Sequences<'_>]) -> B::Pages {
    let formats: Vec<KvFormat> =
        std::iter::once(other.into()).chain(sequences.iter().map(|sequences| sequences.rows.format)).collect();
    let mut pages = backend.pages(shape, &formats).unwrap();
    let width = 2 * shape.kv_heads * shape.head_dim;
    let every: Vec<u32> = (0..shape.pages as u32).collect();
    for format in formats {
        let positions = (shape.pages * format.page_tokens()) as u32;
        let noise = upload(backend, &vec![NOISE; positions as usize * width], width);
        let everywhere: Vec<PageSpan> = (1..=positions).map(|tokens| PageSpan { first: 0, tokens }).collect();
        for layer in 0..shape.layers {
            let rows = PagedRows { spans: &everywhere, tables: &every, format };
            backend.write_pages(
                KvColumns { rows: &noise, first: 0, key_norm: None },
                rows,
                LayerPagesMut { pages: &mut pages, layer },
            );
        }
    }
    for Sequences { rows, kv } in sequences {
        let ends = |span: &PageSpan| (1..=span.tokens).map(|tokens| PageSpan { tokens, ..*span }).collect::<Vec<_>>();
        let ends: Vec<PageSpan> = rows.spans.iter().flat_map(ends).collect();
        let kv = upload(backend, kv, width);
        let to = LayerPagesMut { pages: &mut pages, layer: 1 };
        backend.write_pages(KvColumns { rows: &kv, first: 0, key_norm: None }, PagedRows { spans: &ends, ..*rows }, to);
    }
    pages
}
