//! One table of cases for every op: what holds for each backend, against the reference.
//!
//! Unused pages hold large noise, so that an op which reads past what it may see fails loudly. Run for the processor by
//! `cpu.rs`, for CUDA by `cuda`.

use kernels::reference::{Reference, Rounding};
use kernels::{
    AttentionOps, AttentionShape, Backend, Candidate, Choice, DType, Draw, DrawnRows, Draws, FullAttention, GatedRows,
    KvColumns, KvFormat, KvSide, LayerPages, LayerPagesMut, LinearRows, MatrixUse, NO_PLACE, Norm, OutputLayer,
    PageShape, PageSpan, PagedAttention, PagedRows, Precision, ProductOps, RotaryHeads, RotaryRows, RowOps, Sampling,
    SamplingOps, Sandwich, ScoreAsk, SeamRows, Segment, Storage, WeightFormat, WeightPart, Window,
};

/// Products by rows, input and output features.
pub const PRODUCTS: [(usize, usize, usize); 8] =
    [(1, 8, 5), (1, 512, 200), (2, 33, 64), (5, 48, 65), (6, 64, 192), (7, 30, 130), (13, 96, 256), (450, 16, 96)];
const NOISE: f32 = 1e4;

/// Reproducible numbers in `-1 .. 1`.
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut out = vec![0.0; count];
    WeightPart::Random { rows: 1, cols: count, seed, deviation: 0.577 }.read_row(0, &mut out);
    out
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn upload<B: Backend>(backend: &B, values: &[f32], width: usize) -> B::Activations {
    let mut rows = backend.activations(values.len() / width, width).unwrap();
    backend.upload(values, &mut rows);
    rows
}

pub fn upload_wide<B: Backend>(backend: &B, values: &[f32], width: usize) -> B::Activations {
    let mut rows = backend.wide_activations(values.len() / width, width).unwrap();
    backend.upload(values, &mut rows);
    rows
}

fn stored(rows: usize, cols: usize, bytes: &[u8]) -> WeightPart<'_> {
    WeightPart::Stored { rows, cols, dtype: DType::F32, bytes }
}

pub fn matrix<B: Backend>(
    backend: &B,
    seed: u64,
    (rows, cols): (usize, usize),
    format: impl Into<WeightFormat>,
) -> B::Matrix {
    let part = WeightPart::Random { rows, cols, seed, deviation: 0.5 };
    backend.matrix(&[part], format.into(), MatrixUse::Multiply).unwrap()
}

#[track_caller]
pub fn assert_close(name: &str, actual: &[f32], expected: &[f32], slack: Slack) {
    let Slack { largest, root_mean_square: most } = slack;
    assert_eq!(actual.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(1e-3_f32, |max, v| max.max(v.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= largest * scale, "{name}: number {i} is {a}, the reference has {e} (scale {scale})");
    }
    // Few numbers may lie that far off.
    let squares: f32 = actual.iter().zip(expected).map(|(a, e)| (a - e).powi(2)).sum();
    let root_mean_square = (squares / actual.len() as f32).sqrt();
    assert!(root_mean_square <= most * scale, "{name}: the root mean square error is {root_mean_square} of {scale}");
}

/// A backend beside the reference that rounds where it rounds.
pub struct Runner<'a, B> {
    pub backend: &'a B,
    pub reference: &'a Reference,
    pub precision: Precision,
    /// What it stands for, for messages.
    pub label: String,
    /// Heads must be a multiple of this wide.
    pub head_multiple: usize,
    /// Beside what an op allows itself: what the rows lose where they are kept.
    pub slack: Slack,
}

/// How far results may lie from the reference's, as parts of its largest.
#[derive(Debug, Clone, Copy)]
pub struct Slack {
    pub largest: f32,
    pub root_mean_square: f32,
}

impl<B: Backend> Runner<'_, B> {
    fn shapes(&self) -> impl Iterator<Item = Windowed> {
        let multiple = self.head_multiple;
        attention_shapes().into_iter().filter(move |case| case.shape.head_dim.is_multiple_of(multiple))
    }

    fn allow(&self, largest: f32) -> Slack {
        Slack { largest: largest.max(self.slack.largest), ..self.slack }
    }
}

/// `both!(runner, tolerance, |backend| rows)` evaluates the body for the backend and for the reference.
macro_rules! both {
    ($runner:expr, $tolerance:expr, |$backend:ident| $body:expr) => {{
        let expected: Vec<f32> = {
            let $backend = $runner.reference;
            $body
        };
        let actual: Vec<f32> = {
            let $backend = $runner.backend;
            $body
        };
        assert_close(&$runner.label, &actual, &expected, $runner.allow($tolerance));
    }};
}

pub fn linear_and_logits_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    for (rows, cols, outputs) in PRODUCTS {
        let x = numbers(1, rows * cols);
        both!(run, 2e-6, |backend| {
            let weights = matrix(backend, 2, (outputs, cols), run.precision);
            let mut out = backend.activations(rows, outputs).unwrap();
            backend.linear(&upload(backend, &x, cols), &weights, LinearRows::first(rows), &mut out);
            backend.download(&out, rows)
        });
        both!(run, 2e-6, |backend| {
            let weights = matrix(backend, 3, (outputs, cols), run.precision);
            let mut out = backend.wide_activations(rows, outputs).unwrap();
            let output = OutputLayer { table: &weights, softcap: Some(2.0) };
            backend.logits(&upload(backend, &x, cols), output, rows, &mut out);
            backend.download(&out, rows)
        });
    }
}

pub fn linear_reads_rows_from_an_offset_and_fused_parts_stand_side_by_side<B: Backend>(run: &Runner<'_, B>) {
    let parts = [
        WeightPart::Random { rows: 40, cols: 24, seed: 5, deviation: 0.1 },
        WeightPart::Random { rows: 30, cols: 24, seed: 6, deviation: 0.1 },
    ];
    for count in [4, 70] {
        let x = numbers(4, (5 + count) * 24);
        both!(run, 2e-6, |backend| {
            let weights = backend.matrix(&parts, run.precision.into(), MatrixUse::Multiply).unwrap();
            let mut out = backend.activations(2 + count, 70).unwrap();
            backend.linear(&upload(backend, &x, 24), &weights, LinearRows { from: 5, to: 2, count }, &mut out);
            backend.download(&out, 2 + count)
        });
    }
}

pub fn lookups_follow_the_reference_in_both_layouts<B: Backend>(run: &Runner<'_, B>) {
    for usage in [MatrixUse::Lookup, MatrixUse::Multiply] {
        for cols in [6, 33, 512] {
            both!(run, 0.0, |backend| {
                let part = WeightPart::Random { rows: 130, cols, seed: 7, deviation: 1.0 };
                let table = backend.matrix(&[part], run.precision.into(), usage).unwrap();
                let mut out = backend.wide_activations(5, cols).unwrap();
                backend.embed(&table, &[0, 129, 64, 63, 64], 22.625, &mut out);
                backend.download(&out, 5)
            });
        }
    }
}

pub fn norms_and_seams_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    for (rows, width) in [(1, 8), (3, 33), (70, 512)] {
        let (x, y) = (numbers(8, rows * width), numbers(9, rows * width));
        let (post, pre) = (bytes(&numbers(10, width)), bytes(&numbers(11, width)));
        both!(run, 2e-6, |backend| {
            let gain = backend.gain(&stored(1, width, &post)).unwrap();
            let mut out = backend.activations(rows, width).unwrap();
            let norm = Norm { gain: &gain, eps: 1e-6 };
            backend.rms_norm(&upload_wide(backend, &x, width), norm, rows, &mut out);
            backend.download(&out, rows)
        });
        both!(run, 2e-6, |backend| {
            let post = backend.gain(&stored(1, width, &post)).unwrap();
            let pre = backend.gain(&stored(1, width, &pre)).unwrap();
            let mut residual = upload_wide(backend, &x, width);
            let mut out = backend.activations(rows, width).unwrap();
            let gains = Sandwich { post: &post, pre: &pre, eps: 1e-6 };
            let seam = SeamRows { residual: &mut residual, x: &mut out };
            backend.sandwich(&upload(backend, &y, width), gains, rows, seam);
            let mut both = backend.download(&residual, rows);
            both.extend(backend.download(&out, rows));
            both
        });
    }
}

pub fn rotation_and_gated_activation_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 16, scale: 1.0, softcap: None };
    let x: Vec<f32> = numbers(12, 40 * 128).iter().map(|v| v * 3.0).collect();
    let positions: Vec<u32> = (0..40).map(|i| (i * 211) % 8000).collect();
    both!(run, 2e-6, |backend| {
        let table = backend.rope_table(8000, 16, 10_000.0).unwrap();
        let mut rows = upload(backend, &x, 128);
        backend.rope(&mut rows, &positions, RotaryHeads { shape: &shape, table: &table });
        backend.download(&rows, 40)
    });
    both!(run, 2e-6, |backend| {
        let mut out = backend.activations(40, 64).unwrap();
        backend.geglu(&upload(backend, &x, 128), 40, &mut out);
        backend.download(&out, 40)
    });
}

/// An attention with a window.
#[derive(Debug, Clone, Copy)]
pub struct Windowed {
    pub shape: AttentionShape,
    pub window: Option<usize>,
}

fn attention_shapes() -> Vec<Windowed> {
    let shape = |heads, kv_heads, head_dim| AttentionShape {
        heads,
        kv_heads,
        head_dim,
        scale: (head_dim as f32).powf(-0.5),
        softcap: Some(50.0),
    };
    let windowed = |shape, window| Windowed { shape, window };
    vec![
        windowed(shape(4, 2, 16), None),
        windowed(shape(4, 1, 8), Some(8)),
        windowed(AttentionShape { softcap: None, ..shape(3, 1, 64) }, Some(70)),
        windowed(AttentionShape { softcap: Some(1.5), ..shape(2, 2, 80) }, None),
        windowed(shape(2, 1, 256), None),
        windowed(shape(70, 1, 4), None),
        windowed(shape(18, 1, 8), None),
    ]
}

/// Attention rounds its weights to bfloat16 in the bfloat16 mode: 2^-9 of the largest value.
fn attention_tolerance(precision: Precision) -> f32 {
    if precision == Precision::Bf16 { 4e-3 } else { 5e-6 }
}

pub fn full_attention_follows_the_reference_on_ragged_segments<B: Backend>(run: &Runner<'_, B>) {
    for Windowed { shape, window } in run.shapes() {
        let lens = [1_u32, 6, 7, 64, 65, 131, 2];
        let mut segments = Vec::new();
        lens.iter().fold(0, |start, &len| {
            segments.push(Segment { start, len });
            start + len
        });
        let rows = lens.iter().sum::<u32>() as usize;
        let width = shape.query_width() + 2 * shape.kv_width();
        let qkv: Vec<f32> = numbers(13, rows * width).iter().map(|v| v * 2.0).collect();
        for window in [Window::symmetric(window), Window { left: window, right: Some(3) }] {
            both!(run, attention_tolerance(run.precision), |backend| {
                let mut out = backend.activations(rows, shape.query_width()).unwrap();
                let attention = FullAttention { shape: &shape, window, precision: run.precision };
                backend.attend_full(&upload(backend, &qkv, width), &segments, attention, &mut out);
                backend.download(&out, rows)
            });
        }
    }
}

/// The formats of a pool whose K and V are kept in one of them: it holds pages of the precision beside them.
pub const FORMATS: [(KvFormat, Precision); 4] = [
    (KvFormat::F32, Precision::F32),
    (KvFormat::Bf16, Precision::Bf16),
    (KvFormat::Int8, Precision::F32),
    (KvFormat::Int8, Precision::Bf16),
];

/// Sequences of the given lengths on pages dealt in a scattered order, the last of `tables` never used.
pub fn spans(lens: &[u32], pages: usize, format: KvFormat) -> (Vec<PageSpan>, Vec<u32>) {
    let mut order: Vec<u32> = (0..pages as u32).collect();
    order.sort_by_key(|&page| page.wrapping_mul(0x9E37_79B9));
    let (mut spans, mut tables) = (Vec::new(), Vec::new());
    for &len in lens {
        spans.push(PageSpan { first: tables.len() as u32, tokens: len });
        let next = tables.len();
        tables.extend(&order[next..next + (len as usize).div_ceil(format.page_tokens())]);
    }
    (spans, tables)
}

/// Fills every position of every page with noise in the format of the pool's other pages, then in the rows' own, then
/// writes the sequences' K/V position by position.
pub fn fill<B: Backend>(
    backend: &B,
    (shape, other): (PageShape, Precision),
    rows: PagedRows<'_>,
    kv: &[f32],
) -> B::Pages {
    let mut pages = backend.pages(shape, &[other.into(), rows.format]).unwrap();
    let width = 2 * shape.kv_heads * shape.head_dim;
    let every: Vec<u32> = (0..shape.pages as u32).collect();
    for format in [other.into(), rows.format] {
        let positions = (shape.pages * format.page_tokens()) as u32;
        let noise = upload(backend, &vec![NOISE; positions as usize * width], width);
        let everywhere: Vec<PageSpan> = (1..=positions).map(|tokens| PageSpan { first: 0, tokens }).collect();
        for layer in 0..shape.layers {
            let rows = PagedRows { spans: &everywhere, tables: &every, format };
            backend.write_pages(KvColumns { rows: &noise, first: 0 }, rows, LayerPagesMut { pages: &mut pages, layer });
        }
    }
    let mut ends = Vec::new();
    for span in rows.spans {
        ends.extend((1..=span.tokens).map(|tokens| PageSpan { first: span.first, tokens }));
    }
    let kv = upload(backend, kv, width);
    let kv = KvColumns { rows: &kv, first: 0 };
    backend.write_pages(kv, PagedRows { spans: &ends, ..rows }, LayerPagesMut { pages: &mut pages, layer: 1 });
    pages
}

/// Beside [`attention_tolerance`]: where there are products of 8-bit integers, queries and weights are integers of 16 bits,
/// and a score moves by up to 2^-16 of the largest product of query and key.
fn paged_tolerance(format: KvFormat) -> f32 {
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
    for Windowed { shape, window } in run.shapes() {
        let lens = [1, 15, 16, 17, 40, 130, 0, 33, 32, 600];
        let (spans, tables) = spans(&lens, 70, format);
        let rows = PagedRows { spans: &spans, tables: &tables, format };
        let pool = PageShape { pages: 70, layers: 3, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let total = lens.iter().sum::<u32>() as usize;
        let kv: Vec<f32> = numbers(14, total * 2 * shape.kv_width()).iter().map(|v| v * 2.0).collect();
        let q = numbers(15, lens.len() * (shape.query_width() + 5));
        both!(run, paged_tolerance(format), |backend| {
            let pages = fill(backend, (pool, run.precision), rows, &kv);
            let mut out = backend.activations(lens.len(), shape.query_width()).unwrap();
            let q = upload(backend, &q, shape.query_width() + 5);
            let attention = PagedAttention { shape: &shape, side: KvSide { rows, window } };
            backend.attend_paged(&q, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
            backend.download(&out, lens.len())
        });
    }
}

/// What may be fused gives what its parts give, page by page and row by row.
pub fn fused_ops_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    for (rows, cols, width) in [(1, 40, 24), (9, 96, 72), (33, 32, 40), (70, 64, 16)] {
        let x = numbers(50, (rows + 2) * cols);
        both!(run, 2e-6, |backend| {
            let weights = matrix(backend, 51, (2 * width, cols), run.precision);
            let (mut gate_up, mut out) =
                (backend.activations(rows, 2 * width).unwrap(), backend.activations(rows, width).unwrap());
            let read = LinearRows { from: 2, to: 0, count: rows };
            let to = GatedRows { gate_up: &mut gate_up, out: &mut out };
            backend.linear_geglu(&upload(backend, &x, cols), &weights, read, to);
            backend.download(&out, rows)
        });
    }
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 16, scale: 0.3, softcap: None };
    let (width, tables): (_, Vec<u32>) = (shape.query_width() + 2 * shape.kv_width(), vec![3, 1, 0, 2]);
    let positions: Vec<u32> = (0..40).collect();
    let spans: Vec<PageSpan> = positions.iter().map(|position| PageSpan { first: 1, tokens: position + 1 }).collect();
    let values = numbers(52, positions.len() * width);
    let format = run.precision.into();
    both!(run, 2e-5, |backend| {
        let page_shape = PageShape { pages: 4, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let mut pages = backend.pages(page_shape, &[format]).unwrap();
        let angles = backend.rope_table(64, shape.head_dim, 10_000.0).unwrap();
        let mut qkv = upload(backend, &values, width);
        let rows = PagedRows { spans: &spans, tables: &tables, format };
        let rotary = RotaryRows { positions: &positions, paged: rows };
        let heads = RotaryHeads { shape: &shape, table: &angles };
        backend.rope_and_write(&mut qkv, rotary, heads, LayerPagesMut { pages: &mut pages, layer: 1 });
        let mut out = backend.activations(positions.len(), shape.query_width()).unwrap();
        let attention = PagedAttention { shape: &shape, side: KvSide { rows, window: None } };
        backend.attend_paged(&qkv, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
        backend.download(&out, positions.len())
    });
}

pub fn sampling_gives_exactly_the_defined_ids<B: Backend>(backend: &B) {
    let samplings = [
        Sampling::GREEDY,
        Sampling { temperature: 1.0, ..Sampling::GREEDY },
        Sampling { temperature: 0.7, top_k: 5, ..Sampling::GREEDY },
        Sampling { temperature: 1.3, top_p: 0.8, ..Sampling::GREEDY },
        Sampling { temperature: 1.0, min_p: 0.05, ..Sampling::GREEDY },
        Sampling { temperature: 2.0, top_k: 300, top_p: 0.6, min_p: 0.01, seed: 9 },
        Sampling { temperature: 0.01, top_p: 0.1, ..Sampling::GREEDY },
    ];
    let vocab = 3000;
    // Coarse values make ties common.
    let logits: Vec<f32> = numbers(16, 4 * vocab).iter().map(|v| (v * 40.0).round() / 4.0).collect();
    let draws: Vec<Draw> = (0..400_u32)
        .map(|i| {
            let sampling = samplings[i as usize % samplings.len()];
            let choice = Choice { sampling, choice: i % 3, position: i, forbid_end: i % 5 == 0 };
            Draw { row: i % 4, choice }
        })
        .collect();
    let ends = [17, 2999];
    let reference = Reference { rounding: Rounding::Storage };
    let expected = drawn_ids(&reference, &upload_wide(&reference, &logits, vocab), &draws, &ends);
    let actual = drawn_ids(backend, &upload_wide(backend, &logits, vocab), &draws, &ends);
    assert_eq!(actual, expected, "{}", backend.describe());
}

/// Draws in two calls and takes all ids at once.
pub fn drawn_ids<B: Backend>(backend: &B, logits: &B::Activations, draws: &[Draw], ends: &[u32]) -> Vec<Option<u32>> {
    let mut drawn = backend.drawn(draws.len()).unwrap();
    let mut ids = Vec::new();
    let (first, rest) = draws.split_at(draws.len().min(3));
    backend.sample(logits, Draws { draws: first, end_ids: ends }, &mut drawn);
    backend.sample(logits, Draws { draws: rest, end_ids: ends }, &mut drawn);
    backend.fetch(&mut drawn);
    backend.take(&mut drawn, &mut ids);
    ids
}

/// Ids that were taken by the host are still embedded; rows without one stay as they are.
pub fn drawn_ids_are_embedded_before_and_after_they_are_taken<B: Backend>(run: &Runner<'_, B>) {
    let (vocab, cols) = (130, 33);
    let choice = Choice { sampling: Sampling::GREEDY, choice: 0, position: 0, forbid_end: false };
    let draws = [1, 0, 2].map(|row| Draw { row, choice });
    let mut logits = numbers(26, 3 * vocab);
    logits[2 * vocab..].fill(f32::NAN);
    both!(run, 0.0, |backend| {
        let part = WeightPart::Random { rows: vocab, cols, seed: 7, deviation: 1.0 };
        let table = backend.matrix(&[part], run.precision.into(), MatrixUse::Lookup).unwrap();
        let mut drawn = backend.drawn(3).unwrap();
        let draws = Draws { draws: &draws, end_ids: &[] };
        backend.sample(&upload_wide(backend, &logits, vocab), draws, &mut drawn);
        let mut out = backend.wide_activations(5, cols).unwrap();
        backend.embed(&table, &[0, 129, 64, 63, 64], 22.625, &mut out);
        backend.embed_drawn(&table, DrawnRows { drawn: &drawn, places: &[1, NO_PLACE, 0] }, 22.625, &mut out);
        let mut ids = Vec::new();
        backend.take(&mut drawn, &mut ids);
        assert!(ids[0].is_some() && ids[1].is_some() && ids[2].is_none(), "{ids:?}");
        let last = DrawnRows { drawn: &drawn, places: &[NO_PLACE, NO_PLACE, NO_PLACE, 1] };
        backend.embed_drawn(&table, last, 22.625, &mut out);
        backend.download(&out, 5)
    });
}

pub fn scores_follow_the_reference_with_ranks_and_ties<B: Backend>(backend: &B) {
    let vocab = 3000;
    let logits: Vec<f32> = numbers(17, 2 * vocab).iter().map(|v| (v * 60.0).round() / 2.0).collect();
    let asked = [(0, 5, 0), (1, 2999, 20), (0, 0, 1), (1, 77, 5), (0, 1500, 4000)];
    let asked = asked.map(|(row, id, top)| ScoreAsk { row, id, top });
    let reference = Reference { rounding: Rounding::Storage };
    let mut expected = Vec::new();
    reference.score(&upload_wide(&reference, &logits, vocab), &asked, &mut expected);
    let same =
        |a: &Candidate, b: &Candidate| a.id == b.id && a.rank == b.rank && (a.log_prob - b.log_prob).abs() < 1e-5;
    let mut scores = Vec::new();
    backend.score(&upload_wide(backend, &logits, vocab), &asked, &mut scores);
    assert_eq!(scores.len(), expected.len());
    for (score, expected) in scores.iter().zip(&expected) {
        assert!(same(&score.chosen, &expected.chosen), "{:?} {:?}", score.chosen, expected.chosen);
        assert_eq!(score.top.len(), expected.top.len());
        assert!(score.top.iter().zip(&expected.top).all(|(a, b)| same(a, b)));
    }
}

pub fn rows_without_a_distribution_have_no_log_probabilities<B: Backend>(backend: &B) {
    let vocab = 3000;
    let finite = numbers(18, vocab);
    let row = |changed: &[(usize, f32)]| {
        let mut row = finite.clone();
        changed.iter().for_each(|&(id, logit)| row[id] = logit);
        row
    };
    let (lowest, none) = (f32::NEG_INFINITY, f32::NAN);
    let rows = [
        (row(&[]), true),
        (row(&[(7, lowest), (2999, lowest)]), true),
        (row(&[(2999, none)]), false),
        (row(&[(0, f32::INFINITY)]), false),
        (vec![none; vocab], false),
        (vec![lowest; vocab], false),
    ];
    let logits: Vec<f32> = rows.iter().flat_map(|(row, _)| row).copied().collect();
    let asks = |row: u32| [(7, 0), (0, 3)].map(|(id, top)| ScoreAsk { row, id, top });
    let asked: Vec<ScoreAsk> = (0..).zip(&rows).flat_map(|(row, _)| asks(row)).collect();
    let mut scores = Vec::new();
    backend.score(&upload_wide(backend, &logits, vocab), &asked, &mut scores);
    for (ask, score) in asked.iter().zip(&scores) {
        assert_eq!(score.is_of_distribution(), rows[ask.row as usize].1, "{ask:?}: {score:?}");
        assert_eq!(
            score.top.iter().all(|candidate| candidate.log_prob.is_nan()),
            !score.is_of_distribution() || ask.top == 0
        );
    }
    assert_eq!(scores[2].chosen.log_prob, lowest, "an impossible id of a row that is otherwise sound");
}
