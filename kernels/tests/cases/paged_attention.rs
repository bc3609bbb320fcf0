//! Attention over pages, of one side and of two.

use kernels::{
    AttentionOps, AttentionShape, Backend, KvFormat, KvSide, LayerPages, LayerPagesMut, PageShape, PageSpan,
    PagedAttention, PagedRows, Precision, RopeSpec, RotaryHeads, RotaryRows, Storage,
};

use super::attention::{Windowed, attention_tolerance, shapes};
use super::numbers::{numbers, upload};
use super::pages::{Dealer, Sequences, fill};
use super::runner::{Runner, both};

/// Where there are products of 8-bit integers, queries and weights are integers of 16 bits: a score moves by up to
/// 2^-16 of the largest product of query and key.
pub fn paged_tolerance(format: KvFormat) -> f32 {
    match format {
        KvFormat::F32 => attention_tolerance(Precision::F32),
        KvFormat::Bf16 => attention_tolerance(Precision::Bf16),
        KvFormat::Int8 => 1e-4,
    }
}

pub fn paged_attention_follows_the_reference_and_reads_only_what_it_may<B: Backend>(
    run: &Runner<'_, B>,
    format: KvFormat,
) {
    for Windowed { shape, window } in shapes(run.head_multiple) {
        let lens = [1, 15, 16, 17, 40, 130, 0, 33, 32, 600];
        let dealt = Dealer::new(70).deal(&lens, format);
        let side = KvSide { rows: dealt.rows(), window };
        check(run, 70, PagedAttention::over(&shape, side));
    }
}

/// Formats of the first side and the second, each beside a precision whose pages the pool holds as well.
pub const FORMAT_PAIRS: [([KvFormat; 2], Precision); 7] = [
    ([KvFormat::F32, KvFormat::F32], Precision::F32),
    ([KvFormat::Bf16, KvFormat::Bf16], Precision::Bf16),
    ([KvFormat::F32, KvFormat::Int8], Precision::F32),
    ([KvFormat::Bf16, KvFormat::Int8], Precision::Bf16),
    ([KvFormat::Int8, KvFormat::F32], Precision::F32),
    ([KvFormat::Int8, KvFormat::Bf16], Precision::Bf16),
    ([KvFormat::Int8, KvFormat::Int8], Precision::Bf16),
];

/// A row may see several parts of both sides, of one, or nothing. The window is the first side's alone.
pub fn two_sides_follow_the_reference_under_one_softmax<B: Backend>(run: &Runner<'_, B>, formats: [KvFormat; 2]) {
    for Windowed { shape, window } in shapes(run.head_multiple) {
        let mut dealer = Dealer::new(46);
        let first = dealer.deal(&[1, 17, 40, 0, 0, 150, 16, 33], formats[0]);
        let second = dealer.deal(&[16, 1, 0, 5, 0, 140, 48, 131], formats[1]);
        let second = KvSide { rows: second.rows(), window: None };
        let first = KvSide { rows: first.rows(), window };
        check(run, 46, PagedAttention { shape: &shape, first, second: Some(second) });
    }
}

/// Attention over sequences of random keys and values.
fn check<B: Backend>(run: &Runner<'_, B>, pages: usize, attention: PagedAttention<'_>) {
    let shape = attention.shape;
    let pool = PageShape { pages, layers: 3, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
    let values = |(seed, side): (u64, KvSide<'_>)| -> Vec<f32> {
        let total = side.rows.spans.iter().map(|span| span.tokens).sum::<u32>() as usize;
        numbers(seed, total * 2 * shape.kv_width()).iter().map(|v| v * 2.0).collect()
    };
    let kv: Vec<Vec<f32>> = [14, 16].into_iter().zip(attention.sides()).map(values).collect();
    let sequences: Vec<Sequences<'_>> =
        attention.sides().zip(&kv).map(|(side, kv)| Sequences { rows: side.rows, kv }).collect();
    let q = numbers(15, attention.rows() * (shape.query_width() + 5));
    let tolerance = attention.sides().map(|side| paged_tolerance(side.rows.format)).fold(0.0, f32::max);
    both!(run, tolerance, |backend| {
        let pages = fill(backend, pool, run.precision, &sequences);
        let mut out = backend.activations(attention.rows(), shape.query_width()).unwrap();
        let q = upload(backend, &q, shape.query_width() + 5);
        backend.attend_paged(&q, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
        backend.download(&out, attention.rows())
    });
}

/// Rotation with writing gives what its parts give, page by page.
pub fn rotation_with_writing_follows_the_reference<B: Backend>(run: &Runner<'_, B>) {
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 16, scale: 0.3, softcap: None };
    let (width, tables): (_, Vec<u32>) = (shape.query_width() + 2 * shape.kv_width(), vec![3, 1, 0, 2]);
    let positions: Vec<u32> = (0..40).collect();
    let spans: Vec<PageSpan> = positions.iter().map(|position| PageSpan { first: 1, tokens: position + 1 }).collect();
    let values = numbers(52, positions.len() * width);
    let format = run.precision.into();
    both!(run, 2e-5, |backend| {
        let page_shape = PageShape { pages: 4, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let mut pages = backend.pages(page_shape, &[format]).unwrap();
        let angles = backend.rope_table(64, shape.head_dim, RopeSpec::unscaled(10_000.0)).unwrap();
        let mut qkv = upload(backend, &values, width);
        let rows = PagedRows { spans: &spans, tables: &tables, format };
        let rotary = RotaryRows { positions: &positions, paged: rows };
        let heads = RotaryHeads { shape: &shape, table: &angles, norms: None };
        backend.rope_and_write(&mut qkv, rotary, heads, LayerPagesMut { pages: &mut pages, layer: 1 });
        let mut out = backend.activations(positions.len(), shape.query_width()).unwrap();
        let attention = PagedAttention::over(&shape, KvSide { rows, window: None });
        backend.attend_paged(&qkv, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
        backend.download(&out, positions.len())
    });
}
