//! Copies of whole pages.

use kernels::{
    AttentionShape, Backend, KvColumns, KvFormat, KvSide, LayerPages, LayerPagesMut, PageCopy, PageShape, PageSpan,
    PagedAttention, PagedRows, Precision,
};

use super::numbers::{numbers, upload};

const SHAPE: AttentionShape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 16, scale: 0.3, softcap: None };
const LAYERS: usize = 3;
/// Pages of the sequence, and of its copy.
const ORIGINAL: [u32; 2] = [3, 1];
const COPY: [u32; 2] = [0, 4];

/// A sequence that fills one page and a part of the next.
struct Sequence<'a, B: Backend> {
    backend: &'a B,
    pages: B::Pages,
    format: KvFormat,
    tokens: u32,
}

impl<'a, B: Backend> Sequence<'a, B> {
    fn new(backend: &'a B, formats: &[KvFormat], format: KvFormat) -> Self {
        let pool = PageShape { pages: 5, layers: LAYERS, kv_heads: SHAPE.kv_heads, head_dim: SHAPE.head_dim };
        let (pages, tokens) = (backend.pages(pool, formats).unwrap(), format.page_tokens() as u32 + 7);
        Self { backend, pages, format, tokens }
    }

    /// Writes every position of every layer, other numbers for each layer and seed.
    fn write(&mut self, tables: [u32; 2], seed: u64) {
        let width = 2 * SHAPE.kv_width();
        let spans: Vec<PageSpan> = (1..=self.tokens).map(|tokens| PageSpan { first: 0, tokens }).collect();
        for layer in 0..LAYERS {
            let values = numbers(seed + layer as u64, self.tokens as usize * width);
            let kv = upload(self.backend, &values, width);
            let rows = PagedRows { spans: &spans, tables: &tables, format: self.format };
            let to = LayerPagesMut { pages: &mut self.pages, layer };
            self.backend.write_pages(KvColumns { rows: &kv, first: 0, key_norm: None }, rows, to);
        }
    }

    /// Attention of a query over the pages of every layer.
    fn read(&self, tables: [u32; 2]) -> Vec<Vec<f32>> {
        let q = upload(self.backend, &numbers(99, SHAPE.query_width()), SHAPE.query_width());
        let spans = [PageSpan { first: 0, tokens: self.tokens }];
        let rows = PagedRows { spans: &spans, tables: &tables, format: self.format };
        let layer = |layer| {
            let mut out = self.backend.activations(1, SHAPE.query_width()).unwrap();
            let attention = PagedAttention::over(&SHAPE, KvSide { rows, window: None });
            self.backend.attend_paged(&q, attention, LayerPages { pages: &self.pages, layer }, &mut out);
            self.backend.download(&out, 1)
        };
        (0..LAYERS).map(layer).collect()
    }
}

/// A copy holds every layer of its original, bit for bit, and neither sees what is written to the other afterwards.
pub fn copied_pages_hold_every_layer_and_part_from_their_originals<B: Backend>(
    backend: &B,
    precision: Precision,
    format: KvFormat,
) {
    let mut sequence = Sequence::new(backend, &[precision.into(), format], format);
    sequence.write(ORIGINAL, 100);
    let original = sequence.read(ORIGINAL);
    assert_ne!(original, sequence.read(COPY));
    let copies = [0, 1].map(|page| PageCopy { from: ORIGINAL[page], to: COPY[page] });
    backend.copy_pages(&copies, &mut sequence.pages);
    assert_eq!(sequence.read(COPY), original, "{}", backend.describe());
    sequence.write(ORIGINAL, 200);
    assert_eq!(sequence.read(COPY), original, "the copy is its own");
    let written = sequence.read(ORIGINAL);
    assert_ne!(written, original);
    sequence.write(COPY, 300);
    assert_eq!(sequence.read(ORIGINAL), written, "the original is its own");
    // A page is copied to several others; nothing is copied where there are no copies.
    let fan = [2, 4].map(|to| PageCopy { from: 3, to });
    backend.copy_pages(&fan, &mut sequence.pages);
    backend.copy_pages(&[], &mut sequence.pages);
    assert_eq!(sequence.read([2, 1]), written);
    assert_eq!(sequence.read([4, 1]), written);
}
