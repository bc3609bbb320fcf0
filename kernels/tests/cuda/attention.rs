//! Attention over pages: independent rows, and pages that are not there.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::cuda::{Cuda, Device};
use kernels::{
    AttentionOps, AttentionShape, KvColumns, KvFormat, KvSide, LayerPages, LayerPagesMut, PageCopy, PageShape,
    PageSpan, PagedAttention, PagedRows, Precision, Storage, Stream,
};

use crate::cases::{Dealer, Sequences, fill, numbers, upload};

/// A row alone gives the bits that it gives among rows on the same pages and on others, over one side and over two.
pub fn paged_attention_of_one_row_does_not_depend_on_others<D: Device>(backend: &Cuda<D>) {
    // Two queries for each key head, so that four rows share a block; and more queries than one block takes.
    for (heads, kv_heads) in [(6, 3), (12, 1)] {
        let shape = AttentionShape { heads, kv_heads, head_dim: 16, scale: 0.3, softcap: Some(9.0) };
        let mut dealer = Dealer::new(70);
        let dealt = [[3, 700, 1, 40], [40, 0, 17, 140]].map(|lens| dealer.deal(&lens, KvFormat::Bf16));
        let pool = PageShape { pages: 70, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let kv = [(31, 744), (33, 197)].map(|(seed, tokens)| numbers(seed, tokens * 2 * shape.kv_width()));
        let sequences = [0, 1].map(|side| Sequences { rows: dealt[side].rows(), kv: &kv[side] });
        let pages = fill(backend, pool, Precision::Bf16, &sequences);
        // Rows of one sequence beside each other and apart; neighbours that differ in their second side alone.
        let spans = [
            [0, 1, 1, 1, 1, 1, 1, 2, 3, 3, 1, 0].map(|sequence| dealt[0].spans[sequence]),
            [0, 1, 1, 1, 2, 2, 1, 2, 3, 3, 3, 0].map(|sequence| dealt[1].spans[sequence]),
        ];
        let q = numbers(32, spans[0].len() * shape.query_width());
        let attend = |rows: Range<usize>, sides: usize| {
            let mut out = backend.activations(rows.len(), shape.query_width()).unwrap();
            let own = &q[rows.start * shape.query_width()..rows.end * shape.query_width()];
            let own = upload(backend, own, shape.query_width());
            let side = |side: usize, window| KvSide {
                rows: PagedRows { spans: &spans[side][rows.clone()], ..dealt[side].rows() },
                window,
            };
            let second = (sides == 2).then(|| side(1, None));
            let attention = PagedAttention { shape: &shape, first: side(0, Some(280)), second };
            backend.attend_paged(&own, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
            backend.download(&out, rows.len())
        };
        for sides in [1, 2] {
            for (row, among) in attend(0..spans[0].len(), sides).chunks(shape.query_width()).enumerate() {
                assert_eq!(attend(row..row + 1, sides), among, "row {row} of {heads} heads over {sides} sides");
            }
        }
    }
}

/// Wrong pages panic before anything of the step is done, and the next step works.
pub fn pages_that_are_not_there_are_refused_within_a_step<D: Device>(backend: &Cuda<D>) {
    let shape = PageShape { pages: 2, layers: 1, kv_heads: 1, head_dim: 8 };
    let mut pages = backend.pages(shape, &[KvFormat::Bf16]).unwrap();
    let kv = backend.activations(1, 16).unwrap();
    let spans = [PageSpan { first: 0, tokens: 17 }];
    let mut write = |tables: &[u32]| {
        let rows = PagedRows { spans: &spans, tables, format: KvFormat::Bf16 };
        backend.step(|| {
            for _ in 0..2 {
                let to = LayerPagesMut { pages: &mut pages, layer: 0 };
                backend.write_pages(KvColumns { rows: &kv, first: 0, key_norm: None }, rows, to);
            }
        });
    };
    write(&[0, 1]);
    for wrong in [&[0, 2][..], &[0][..]] {
        let refused = catch_unwind(AssertUnwindSafe(|| write(wrong)));
        assert!(refused.is_err(), "pages {wrong:?} of 2");
    }
    write(&[0, 1]);
}

/// A step that copies pages and then writes to the originals leaves the copies as they were, however often it is
/// replayed.
pub fn pages_are_copied_within_a_step<D: Device>(backend: &Cuda<D>) {
    let pool = PageShape { pages: 3, layers: 1, kv_heads: 1, head_dim: 8 };
    let mut pages = backend.pages(pool, &[KvFormat::Bf16]).unwrap();
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 8, scale: 1.0, softcap: None };
    let spans = [PageSpan { first: 0, tokens: 1 }];
    let q = upload(backend, &numbers(50, 8), 8);
    let mut seen = backend.activations(1, 8).unwrap();
    for step in 0..4 {
        let [before, after] = [60, 70].map(|seed| upload(backend, &numbers(seed + step, 16), 16));
        let rows = |tables| PagedRows { spans: &spans, tables, format: KvFormat::Bf16 };
        backend.step(|| {
            for (kv, copies) in [(&before, &[PageCopy { from: 0, to: 2 }][..]), (&after, &[])] {
                let to = LayerPagesMut { pages: &mut pages, layer: 0 };
                backend.write_pages(KvColumns { rows: kv, first: 0, key_norm: None }, rows(&[0]), to);
                backend.copy_pages(copies, &mut pages);
            }
            let attention = PagedAttention::over(&shape, KvSide { rows: rows(&[2]), window: None });
            backend.attend_paged(&q, attention, LayerPages { pages: &pages, layer: 0 }, &mut seen);
        });
        // With one position attention gives its value.
        assert_eq!(backend.download(&seen, 1), backend.download(&before, 1)[8..], "step {step}");
    }
}
