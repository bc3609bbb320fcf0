//! Numbers of one sequence never reach another: numbers left in pages by an earlier owner, and a neighbour in the
//! batch that went wrong. NaN is the messenger: whatever it touches shows it.
#![allow(clippy::unwrap_used)]

use kernels::cpu::{Cpu, Isa};
use kernels::reference::{Reference, Rounding};
use kernels::{
    AttentionOps, AttentionShape, Backend, FullAttention, KvColumns, KvFormat, KvSide, LayerPages, LayerPagesMut,
    LinearRows, MatrixUse, PageShape, PageSpan, PagedAttention, PagedRows, Precision, ProductOps, QueryRows, Scheme,
    Segment, Storage, Stream, WeightFormat, WeightPart, Window,
};

const PAGES: usize = 24;

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut out = vec![0.0; count];
    WeightPart::Random { rows: 1, cols: count, seed, deviation: 1.0 }.read_row(0, &mut out);
    out
}

fn upload<B: Backend>(backend: &B, values: &[f32], width: usize) -> B::Activations {
    let mut rows = backend.activations(values.len() / width, width).unwrap();
    backend.upload(values, &mut rows);
    rows
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// An attention with a window.
#[derive(Debug, Clone, Copy)]
struct Windowed {
    shape: AttentionShape,
    window: Option<usize>,
}

fn shapes() -> [Windowed; 3] {
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 16, scale: 0.25, softcap: Some(50.0) };
    [
        Windowed { shape, window: None },
        Windowed { shape: AttentionShape { kv_heads: 1, ..shape }, window: Some(8) },
        Windowed { shape: AttentionShape { heads: 2, head_dim: 80, softcap: None, ..shape }, window: None },
    ]
}

fn check_each(check: impl Fn(&Cpu, Isa, Precision)) {
    for precision in [Precision::F32, Precision::Bf16] {
        for isa in Isa::all() {
            for threads in [1, 2] {
                check(&Cpu::new(isa, threads), isa, precision);
            }
        }
    }
}

/// Rows over pages that another sequence filled to the last number with `stale`, as pages of the precision or of the
/// rows' own format.
struct Reused<'a> {
    windowed: Windowed,
    precision: Precision,
    format: KvFormat,
    earlier: KvFormat,
    lens: &'a [u32],
    stale: f32,
}

impl Reused<'_> {
    fn attend<B: Backend>(&self, backend: &B) -> Vec<f32> {
        let Windowed { shape, window } = &self.windowed;
        let width = 2 * shape.kv_width();
        let pool = PageShape { pages: PAGES, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let mut pages = backend.pages(pool, &[self.precision.into(), self.format]).unwrap();
        let tables: Vec<u32> = (0..PAGES as u32).rev().collect();
        let stale = upload(backend, &vec![self.stale; PAGES * self.earlier.page_tokens() * width], width);
        let owner: Vec<PageSpan> =
            (1..=(PAGES * self.earlier.page_tokens()) as u32).map(|tokens| PageSpan { first: 0, tokens }).collect();
        for layer in 0..2 {
            let rows = PagedRows { spans: &owner, tables: &tables, format: self.earlier };
            backend.write_pages(
                KvColumns { rows: &stale, first: 0, key_norm: None },
                rows,
                LayerPagesMut { pages: &mut pages, layer },
            );
        }
        let (mut spans, mut ends, mut first) = (Vec::new(), Vec::new(), 0);
        for &tokens in self.lens {
            spans.push(PageSpan { first, tokens });
            ends.extend((1..=tokens).map(|tokens| PageSpan { first, tokens }));
            first += tokens.div_ceil(self.format.page_tokens() as u32);
        }
        let kv = upload(backend, &numbers(1, ends.len() * width), width);
        let rows = PagedRows { spans: &spans, tables: &tables, format: self.format };
        let kv = KvColumns { rows: &kv, first: 0, key_norm: None };
        backend.write_pages(kv, PagedRows { spans: &ends, ..rows }, LayerPagesMut { pages: &mut pages, layer: 1 });
        let q = upload(backend, &numbers(2, spans.len() * shape.query_width()), shape.query_width());
        let mut out = backend.activations(spans.len(), shape.query_width()).unwrap();
        let attention = PagedAttention::over(shape, KvSide { rows, window: *window });
        backend.attend_paged(&q, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
        backend.download(&out, spans.len())
    }
}

/// The pages' last position, an odd and an even number of positions, a whole page, and more than a window.
#[test]
fn nothing_of_a_pages_earlier_owner_reaches_its_next_one() {
    let lens = [1, 2, 5, 15, 16, 17, 31, 40, 0, 64];
    check_each(|cpu, isa, precision| {
        let own = KvFormat::from(precision);
        for (windowed, format) in shapes().into_iter().flat_map(|shape| [(shape, own), (shape, KvFormat::Int8)]) {
            let label = format!("{}, {precision:?}, {format:?}, {windowed:?}", cpu.describe());
            let reused = |stale, earlier| Reused { windowed, precision, format, earlier, lens: &lens, stale };
            let clean = reused(0.0, format).attend(cpu);
            let dots = precision == Precision::Bf16 && isa.level().multiplies_bf16();
            let rounding = if dots { Rounding::Operands } else { Rounding::Storage };
            let expected = reused(0.0, format).attend(&Reference { rounding });
            // As in the table of cases: weights that are rounded may fall either way, queries may become integers.
            let tolerance = match format {
                KvFormat::F32 => 5e-6,
                KvFormat::Bf16 => 4e-3,
                KvFormat::Int8 => 1e-4,
            };
            let scale = expected.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
            for (actual, expected) in clean.iter().zip(&expected) {
                assert!((actual - expected).abs() <= tolerance * scale, "{label}: {actual}, expected {expected}");
            }
            for (stale, earlier) in [f32::NAN, f32::INFINITY, -1e30].into_iter().flat_map(|s| [(s, own), (s, format)]) {
                let actual = reused(stale, earlier).attend(cpu);
                assert!(bits(&actual) == bits(&clean), "{label}: {stale} from the earlier owner, {earlier:?}");
            }
        }
    });
}

/// One key, or one value, that is no number: it reaches all of its own row, and nothing of the others.
#[test]
fn a_key_or_value_that_is_no_number_stays_in_its_own_row() {
    let lens = [20_u32, 33, 7];
    check_each(|cpu, _, precision| {
        for (windowed, format) in shapes().into_iter().flat_map(|s| [(s, precision.into()), (s, KvFormat::Int8)]) {
            let Windowed { shape, window } = windowed;
            let width = 2 * shape.kv_width();
            let attend = |bad: Option<(usize, f32)>| {
                let pool = PageShape { pages: 6, layers: 1, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
                let mut pages = cpu.pages(pool, &[precision.into(), format]).unwrap();
                let tables = [3, 1, 0, 5, 4, 2];
                let spans = [0, 2, 5].iter().zip(lens).map(|(&first, tokens)| PageSpan { first, tokens });
                let spans: Vec<PageSpan> = spans.collect();
                let ends = |span: &PageSpan| (1..=span.tokens).map(|tokens| PageSpan { tokens, ..*span }).collect();
                let ends: Vec<PageSpan> = spans.iter().flat_map::<Vec<_>, _>(ends).collect();
                let mut kv = numbers(5, ends.len() * width);
                // The second row's last position but one, in the first head.
                bad.iter().for_each(|&(column, number)| kv[(20 + 31) * width + column] = number);
                let rows = PagedRows { spans: &spans, tables: &tables, format };
                let kv = KvColumns { rows: &upload(cpu, &kv, width), first: 0, key_norm: None };
                let written = PagedRows { spans: &ends, ..rows };
                cpu.write_pages(kv, written, LayerPagesMut { pages: &mut pages, layer: 0 });
                let q = upload(cpu, &numbers(6, 3 * shape.query_width()), shape.query_width());
                let mut out = cpu.activations(3, shape.query_width()).unwrap();
                let attention = PagedAttention::over(&shape, KvSide { rows, window });
                cpu.attend_paged(&q, attention, LayerPages { pages: &pages, layer: 0 }, &mut out);
                cpu.download(&out, 3)
            };
            let (clean, row) = (attend(None), shape.query_width());
            let group = shape.heads / shape.kv_heads * shape.head_dim;
            for column in [1, shape.kv_width() + 1] {
                let label = format!("{}, {precision:?}, {format:?}, {shape:?}, column {column}", cpu.describe());
                let bad = attend(Some((column, f32::NAN)));
                assert!(bad[row + 1].is_nan(), "{label}");
                for other in [0..row, row + group..3 * row] {
                    assert!(bits(&bad[other.clone()]) == bits(&clean[other]), "{label}");
                }
            }
        }
    });
}

/// Runs an op over rows with and without NaN in some of them; the other rows must not notice.
#[track_caller]
fn assert_isolated(label: &str, width: usize, poisoned: std::ops::Range<usize>, op: impl Fn(&[f32]) -> Vec<f32>) {
    let rows = 40;
    let clean = numbers(3, rows * width);
    let mut bad = clean.clone();
    bad[poisoned.start * width..poisoned.end * width].fill(f32::NAN);
    let (clean, bad) = (op(&clean), op(&bad));
    let out_width = clean.len() / rows;
    for row in (0..rows).filter(|row| !poisoned.contains(row)) {
        let range = row * out_width..(row + 1) * out_width;
        assert!(clean[range.clone()].iter().all(|value| value.is_finite()), "{label}: row {row}");
        assert!(bits(&clean[range.clone()]) == bits(&bad[range]), "{label}: row {row} sees rows {poisoned:?}");
    }
    assert!(bad[poisoned.start * out_width..poisoned.end * out_width].iter().all(|value| value.is_nan()), "{label}");
}

#[test]
fn a_row_of_nan_stays_alone_in_products_and_attention() {
    check_each(|cpu, _, precision| {
        let label = format!("{}, {precision:?}", cpu.describe());
        let weights = WeightPart::Random { rows: 130, cols: 48, seed: 4, deviation: 1.0 };
        let quantized = [Scheme::Int8, Scheme::Int4].map(WeightFormat::Quantized);
        for format in quantized.into_iter().chain([precision.into()]) {
            let weights = cpu.matrix(&[weights], format, MatrixUse::Multiply).unwrap();
            assert_isolated(&format!("linear, {label}, {format:?}"), 48, 17..18, |x| {
                let mut out = cpu.activations(40, 130).unwrap();
                cpu.linear(&upload(cpu, x, 48), &weights, LinearRows::first(40), &mut out);
                cpu.download(&out, 40)
            });
        }
        for Windowed { shape, window } in shapes() {
            let width = shape.query_width() + 2 * shape.kv_width();
            let segments = [(0, 1), (1, 12), (13, 9), (22, 18)].map(|(start, len)| Segment { start, len });
            assert_isolated(&format!("attend_full, {label}, {shape:?}"), width, 13..22, |qkv| {
                let mut out = cpu.activations(40, shape.query_width()).unwrap();
                let attention = FullAttention {
                    shape: &shape,
                    window: Window::symmetric(window),
                    precision,
                    queries: QueryRows::ALL,
                };
                cpu.attend_full(&upload(cpu, qkv, width), &segments, attention, &mut out);
                cpu.download(&out, 40)
            });
        }
    });
}
