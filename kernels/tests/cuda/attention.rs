//! Attention over pages: independent rows, and pages that are not there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::cuda::{Cuda, Device};
use kernels::{
    AttentionOps, AttentionShape, KvColumns, KvFormat, KvSide, LayerPages, LayerPagesMut, PageShape, PageSpan,
    PagedAttention, PagedRows, Precision, Storage, Stream,
};

use crate::cases::{fill, numbers, spans, upload};

/// A row alone gives the bits that it gives among rows on the same pages and on others.
pub fn paged_attention_of_one_row_does_not_depend_on_others<D: Device>(backend: &Cuda<D>) {
    // Two queries for each key head, so that four rows share a block; and more queries than one block takes.
    for (heads, kv_heads) in [(6, 3), (12, 1)] {
        let shape = AttentionShape { heads, kv_heads, head_dim: 16, scale: 0.3, softcap: Some(9.0) };
        let lens = [3_u32, 700, 1, 40];
        let (sequences, tables) = spans(&lens, 52, KvFormat::Bf16);
        let all = PagedRows { spans: &sequences, tables: &tables, format: KvFormat::Bf16 };
        let pool = PageShape { pages: 52, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let kv = numbers(31, lens.iter().sum::<u32>() as usize * 2 * shape.kv_width());
        let pages = fill(backend, (pool, Precision::Bf16), all, &kv);
        // Rows of one sequence beside each other and apart.
        let spans = [0, 1, 1, 1, 1, 1, 1, 2, 3, 3, 1, 0].map(|sequence| sequences[sequence]);
        let q = numbers(32, spans.len() * shape.query_width());
        let attend = |rows: std::ops::Range<usize>| {
            let mut out = backend.activations(rows.len(), shape.query_width()).unwrap();
            let own = &q[rows.start * shape.query_width()..rows.end * shape.query_width()];
            let paged = PagedRows { spans: &spans[rows.clone()], ..all };
            let own = upload(backend, own, shape.query_width());
            let attention = PagedAttention { shape: &shape, side: KvSide { rows: paged, window: Some(280) } };
            backend.attend_paged(&own, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
            backend.download(&out, rows.len())
        };
        for (row, among) in attend(0..spans.len()).chunks(shape.query_width()).enumerate() {
            assert_eq!(attend(row..row + 1), among, "row {row} of {heads} heads");
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
                backend.write_pages(KvColumns { rows: &kv, first: 0 }, rows, to);
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
