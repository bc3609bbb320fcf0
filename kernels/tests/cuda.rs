//! The table of cases on CUDA's kernels: through the shim, which runs each kernel on the processor, thread by thread, in
//! several orders of its threads; and on a GPU, where there is one.
#![cfg(any(feature = "cuda-shim", feature = "cuda"))]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod cases;

use std::time::Duration;

use cases::{Runner, Slack, fill, matrix, numbers, spans, upload};
use kernels::cuda::{Cuda, Device};
use kernels::profiled::{Op, Profile};
use kernels::reference::{Reference, Rounding};
use kernels::{
    AttentionShape, Backend, Choice, DType, Draw, Error, KvFormat, LinearRows, MatrixUse, NO_PLACE, Output, PageShape,
    PageSpan, PagedRows, Precision, Profiled, Sampling, Scheme, ScoreAsk, TokenScore, WeightFormat, WeightPart,
};

/// Of rows that are rounded once from nearly equal sums. Measured: 9.5e-6.
const ROWS: f32 = 2e-5;
/// Of attention whose weights are rounded for the tensor cores, over the largest score so far: the reference has them over the
/// largest of all. Measured: 1.9e-4.
const TENSOR_CORES: f32 = 4e-4;

/// Of products with bytes that are scaled and rounded to bfloat16 before. Measured: 5.9e-4.
const WIDENED: f32 = 1e-3;

/// The processor in a GPU's place, under several orders of its threads.
#[cfg(feature = "cuda-shim")]
fn shims() -> Vec<Cuda<kernels::cuda::Shim>> {
    (1..=3).map(|schedule| Cuda::new(kernels::cuda::Shim::new(schedule)).unwrap()).collect()
}

/// A machine without a GPU: its tests say so and check nothing, unless one was promised.
#[cfg(feature = "cuda")]
fn without_a_gpu() {
    assert!(std::env::var_os("ENCDEC_NEEDS_GPU").is_none(), "no GPU is found, nor what stands in for one");
    eprintln!("not run: this machine has no GPU");
}

/// The machine's GPU. Where there is none its tests say so and check nothing.
#[cfg(feature = "cuda")]
fn gpus() -> Vec<Cuda<kernels::cuda::Driver>> {
    if kernels::cuda::is_present() {
        return vec![Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap()];
    }
    without_a_gpu();
    Vec::new()
}

/// Runs a case on each device. Rows are bfloat16: where float32 sums differ in the last bit one may be rounded the other way, by
/// 2^-7 of itself at most. `root_mean_square` is allowed for all numbers together.
fn on_each<D: Device>(devices: Vec<Cuda<D>>, root_mean_square: f32, case: impl Fn(&Runner<'_, Cuda<D>>)) {
    let reference = Reference { rounding: Rounding::Rows };
    for (index, backend) in devices.iter().enumerate() {
        case(&Runner {
            backend,
            reference: &reference,
            precision: Precision::Bf16,
            label: format!("{} {index}", backend.describe()),
            head_multiple: 8,
            slack: Slack { largest: 1.0 / 128.0, root_mean_square },
        });
    }
}

/// The promise of [`Backend`] for products: bit for bit, whatever the number of rows, among those that
/// one way of multiplying takes: up to 64, and more.
fn a_row_alone_equals_the_row_among_others<D: Device>(backend: &Cuda<D>) {
    let (cols, outputs) = (200, 130);
    let x = numbers(20, 300 * cols);
    let weights = matrix(backend, 21, (outputs, cols), WeightFormat::Bf16);
    let product = |rows: std::ops::Range<usize>| {
        let mut out = backend.wide_activations(rows.len(), outputs).unwrap();
        let own = upload(backend, &x[rows.start * cols..rows.end * cols], cols);
        backend.linear(&own, &weights, LinearRows::first(rows.len()), &mut out);
        backend.download(&out, rows.len())
    };
    let all = product(0..64);
    for rows in [0..1, 3..4, 63..64, 5..13, 0..9, 2..16, 10..27, 0..32, 20..53] {
        let among = &all[rows.start * outputs..rows.end * outputs];
        assert_eq!(product(rows.clone()), among, "rows {rows:?}");
    }
    let many = product(0..300);
    for rows in [0..65, 100..217, 3..290] {
        let among = &many[rows.start * outputs..rows.end * outputs];
        assert_eq!(product(rows.clone()), among, "rows {rows:?} of many");
    }
}

/// With as many rows as there may be, those of one way of multiplying.
fn all_rows_are_multiplied_alike_where_that_is_asked_for<D: Device>(backend: Cuda<D>) {
    let backend = backend.deterministic();
    let (cols, outputs) = (200, 130);
    let x = numbers(20, 150 * cols);
    let weights = matrix(&backend, 21, (outputs, cols), WeightFormat::Bf16);
    let product = |rows: std::ops::Range<usize>| {
        let mut out = backend.wide_activations(rows.len(), outputs).unwrap();
        let own = upload(&backend, &x[rows.start * cols..rows.end * cols], cols);
        backend.linear(&own, &weights, LinearRows::first(rows.len()), &mut out);
        backend.download(&out, rows.len())
    };
    let all = product(0..150);
    for rows in [0..1, 30..33, 7..23, 4..137] {
        assert_eq!(product(rows.clone()), all[rows.start * outputs..rows.end * outputs], "rows {rows:?}");
    }
}

/// The same for attention over pages: alone, and with other rows on other pages.
fn paged_attention_of_one_row_does_not_depend_on_others<D: Device>(backend: &Cuda<D>) {
    // Pairs of queries, of which four rows go together, and more queries than go together for one row.
    for (heads, kv_heads) in [(6, 3), (12, 1)] {
        let shape = AttentionShape { heads, kv_heads, head_dim: 16, scale: 0.3, softcap: Some(9.0), window: Some(280) };
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
            backend.attend_paged(&own, paged, &shape, 1, &pages, &mut out);
            backend.download(&out, rows.len())
        };
        for (row, among) in attend(0..spans.len()).chunks(shape.query_width()).enumerate() {
            assert_eq!(attend(row..row + 1), among, "row {row} of {heads} heads");
        }
    }
}

/// Random weights are made on the device; they are the numbers that the host would have made.
fn random_weights_are_those_of_the_host<D: Device>(backend: &Cuda<D>) {
    let part = WeightPart::Random { rows: 40, cols: 50, seed: 11, deviation: 0.7 };
    let table = backend.matrix(&[part], WeightFormat::Bf16, MatrixUse::Lookup).unwrap();
    let ids: Vec<u32> = (0..40).collect();
    let mut out = backend.wide_activations(40, 50).unwrap();
    backend.embed(&table, &ids, 1.0, &mut out);
    let mut expected = vec![0.0; 40 * 50];
    expected.chunks_mut(50).enumerate().for_each(|(row, values)| part.read_row(row, values));
    expected.iter_mut().for_each(|value| *value = kernels::math::round_bf16(*value));
    assert_eq!(backend.download(&out, 40), expected);
}

/// Rows times a matrix of bytes, which are made of numbers, given, and made of random numbers.
fn multiplied_with_bytes<B: Backend>(backend: &B, count: usize) -> Vec<f32> {
    let (cols, outputs) = (200, 70);
    let stored: Vec<u8> = numbers(22, 30 * cols).iter().flat_map(|w| w.to_le_bytes()).collect();
    let (mut integers, mut scales) = (vec![0; 30 * cols], vec![0; 30 * 4]);
    for (row, values) in numbers(23, 30 * cols).chunks(cols).enumerate() {
        let own = (&mut integers[row * cols..][..cols], &mut scales[row * 4..][..4]);
        kernels::quantize::quantize_row(Scheme::Int8, values, own.0, own.1);
    }
    let parts = [
        WeightPart::Stored { rows: 30, cols, dtype: DType::F32, bytes: &stored },
        WeightPart::Quantized { rows: 30, cols, scheme: Scheme::Int8, integers: &integers, scales: &scales },
        WeightPart::Random { rows: 10, cols, seed: 24, deviation: 0.7 },
    ];
    let weights = backend.matrix(&parts, WeightFormat::Quantized(Scheme::Int8), MatrixUse::Multiply).unwrap();
    let mut out = backend.activations(count, outputs).unwrap();
    let x = upload(backend, &numbers(25, count * cols), cols);
    backend.linear(&x, &weights, LinearRows::first(count), &mut out);
    backend.download(&out, count)
}

/// Few rows are multiplied with the bytes themselves, many with the bytes in bfloat16, which are rounded.
fn products_with_weights_of_a_byte_follow_the_reference<D: Device>(devices: Vec<Cuda<D>>) {
    for backend in devices {
        let check = |backend: &Cuda<D>, rows: &[usize], root_mean_square| {
            for &count in rows {
                let expected = multiplied_with_bytes(&Reference { rounding: Rounding::Rows }, count);
                let slack = Slack { largest: 1.0 / 128.0, root_mean_square };
                let label = format!("{count} rows on {}", backend.describe());
                cases::assert_close(&label, &multiplied_with_bytes(backend, count), &expected, slack);
            }
        };
        check(&backend, &[1, 8, 9, 16, 17, 40, 64], ROWS);
        check(&backend, &[65], WIDENED);
        check(&backend.deterministic(), &[65, 140], ROWS);
    }
}

/// Ids of the largest logits, which products leave beside them, are those that a look at all logits gives.
fn ids_drawn_from_products_are_those_of_the_logits<D: Device>(backend: &Cuda<D>) {
    // More tiles than the best of which are listed where ids are weighed, and fewer.
    for (cols, vocab, rows) in [(40, 1003, &[1, 9, 16, 33, 40, 64, 70][..]), (8, 9003, &[1])] {
        for (&rows, softcap) in rows.iter().zip([None, Some(2.0), Some(30.0)].into_iter().cycle()) {
            draw_from_products(backend, (cols, vocab), rows, softcap);
        }
    }
}

fn draw_from_products<D: Device>(backend: &Cuda<D>, (cols, vocab): (usize, usize), rows: usize, softcap: Option<f32>) {
    // Coarse numbers make ties common.
    let coarse = |seed, count| numbers(seed, count).iter().map(|value| value.round()).collect::<Vec<f32>>();
    let table = coarse(40, vocab * cols);
    let bytes: Vec<u8> = table.iter().flat_map(|w| w.to_le_bytes()).collect();
    let part = WeightPart::Stored { rows: vocab, cols, dtype: DType::F32, bytes: &bytes };
    let table = backend.matrix(&[part], WeightFormat::Bf16, MatrixUse::Output).unwrap();
    let mut values = coarse(41 + rows as u64, rows * cols);
    if rows > 1 {
        values[cols + 3] = f32::NAN;
    }
    let x = upload(backend, &values, cols);
    let mut logits = backend.wide_activations(rows, vocab).unwrap();
    backend.logits(&x, &table, softcap, rows, &mut logits);
    let downloaded = backend.download(&logits, rows);
    let best =
        (0..vocab as u32).max_by(|&a, &b| downloaded[a as usize].total_cmp(&downloaded[b as usize]).then(b.cmp(&a)));
    let ends = [best.unwrap(), 5];
    let drawn = Sampling { temperature: 0.7, ..Sampling::GREEDY };
    let samplings = [
        Sampling::GREEDY,
        drawn,
        Sampling { top_k: 7, ..drawn },
        Sampling { top_k: 40, top_p: 0.8, min_p: 0.001, ..drawn },
        Sampling { top_k: 2000, top_p: 0.5, ..drawn },
        Sampling { temperature: 5.0, top_k: 1, ..drawn },
        Sampling { top_p: 0.9, ..drawn },
        Sampling { min_p: 0.05, ..drawn },
        // All but the least ids, which are not among the best.
        Sampling { temperature: 9.0, top_p: 0.999, ..drawn },
        Sampling { temperature: 9.0, min_p: 0.0001, ..drawn },
        Sampling { temperature: 3.0, top_p: 0.7, min_p: 0.01, ..drawn },
    ];
    // Each way for one that may end the text and, of few ids, one that may not; then the best, of all rows.
    let draws: Vec<Draw> = (0..(2 * rows).max(2 * samplings.len()) as u32)
        .filter(|index| vocab < 2000 || index % 2 == 0)
        .map(|index| {
            let way = samplings.get(index as usize / 2).copied().unwrap_or(Sampling::GREEDY);
            let sampling = Sampling { seed: u64::from(index), ..way };
            let choice = Choice { sampling, choice: 0, position: index, forbid_end: index % 2 == 1 };
            Draw { row: index / 2 % rows as u32, choice }
        })
        .collect();
    let reference = Reference { rounding: Rounding::Storage };
    let expected = cases::drawn_ids(&reference, &cases::upload_wide(&reference, &downloaded, vocab), &draws, &ends);
    assert_eq!(cases::drawn_ids(backend, &logits, &draws, &ends), expected, "{rows} rows");
    assert_eq!(expected[0], best);
    // Best ids of the same rows.
    let asked = [0, 4, 50].map(|top| ScoreAsk { row: 0, id: 7, top });
    let (mut scores, mut of_reference) = (Vec::new(), Vec::new());
    backend.score(&logits, &asked, &mut scores);
    reference.score(&cases::upload_wide(&reference, &downloaded, vocab), &asked, &mut of_reference);
    let ids = |scores: &[TokenScore]| {
        let ids = |score: &TokenScore| score.top.iter().map(|candidate| candidate.id).collect::<Vec<u32>>();
        scores.iter().map(|score| (score.chosen.rank, ids(score))).collect::<Vec<_>>()
    };
    assert_eq!(ids(&scores), ids(&of_reference), "{rows} rows");
}

/// Attention over pages, whose lists differ from step to step in contents and length, then a product and an embedding of ids that
/// the step before drew: put off to a step's end, and at once.
fn a_step_computes_what_its_ops_compute_however_often_it_comes_again<D: Device>(backend: &Cuda<D>) {
    let shape = AttentionShape { heads: 2, kv_heads: 1, head_dim: 8, scale: 0.4, softcap: None, window: None };
    let pages = PageShape { pages: 64, layers: 1, kv_heads: 1, head_dim: 8 };
    let mut pages = backend.pages(pages, &[KvFormat::Bf16]).unwrap();
    let weights = matrix(backend, 31, (300, 16), WeightFormat::Bf16);
    let mut kv = backend.activations(512, 16).unwrap();
    backend.upload(&numbers(32, 512 * 16), &mut kv);
    let positions: Vec<PageSpan> = (1..=512).map(|tokens| PageSpan { first: 0, tokens }).collect();
    let all: Vec<u32> = (0..64).rev().collect();
    let rows = PagedRows { spans: &positions, tables: &all, format: KvFormat::Bf16 };
    backend.write_pages(&kv, 0, rows, 0, &mut pages);
    let mut q = backend.activations(4, 16).unwrap();
    let mut attended = backend.activations(4, 16).unwrap();
    let mut logits = backend.wide_activations(4, 300).unwrap();
    let mut attended_wide = backend.wide_activations(4, 16).unwrap();
    let mut run = |step: u32, in_step: bool, drawn: &mut kernels::cuda::Drawn<D>| {
        let choice = Choice { sampling: Sampling::GREEDY, choice: 0, position: 0, forbid_end: false };
        let draws = [0, 1, 2, 3].map(|row| Draw { row, choice });
        // From one part of the sequence to several, over one page to many.
        let spans = [3, 17, 40 * step + 5, 256].map(|tokens| PageSpan { first: step % 2, tokens });
        let tables: Vec<u32> = (0..32 + step).map(|entry| (7 * entry + step) % 64).collect();
        let rows = PagedRows { spans: &spans, tables: &tables, format: KvFormat::Bf16 };
        backend.upload(&numbers(33 + u64::from(step), 4 * 16), &mut q);
        let mut ops = || {
            backend.attend_paged(&q, rows, &shape, 0, &pages, &mut attended);
            backend.linear(&attended, &weights, LinearRows::first(4), &mut logits);
            backend.embed_drawn(&weights, (drawn, &[NO_PLACE, 2, NO_PLACE, 0]), 1.0, &mut attended_wide);
            backend.sample(&logits, &draws, &[], drawn);
        };
        if in_step {
            backend.step(ops)
        } else {
            ops()
        }
        let mut ids = Vec::new();
        backend.take(drawn, &mut ids);
        (ids, backend.download(&logits, 4), backend.download(&attended_wide, 4))
    };
    let mut drawn = [backend.drawn(4).unwrap(), backend.drawn(4).unwrap()];
    for step in 0..12 {
        let [one, other] = &mut drawn;
        assert_eq!(run(step, true, one), run(step, false, other), "step {step}");
    }
    assert!((1..6).contains(&backend.graphs()), "{} graphs for a dozen steps", backend.graphs());
}

/// Copies that are long follow each other, none into what another one still reads.
fn long_rows_arrive_whole_however_many_are_on_their_way<D: Device>(backend: &Cuda<D>) {
    const ROWS: usize = 96;
    const WIDTH: usize = 1024;
    let mut places: Vec<_> = (0..8).map(|_| backend.activations(ROWS, WIDTH).unwrap()).collect();
    let values: Vec<Vec<f32>> = (0..8_u8).map(|place| vec![f32::from(place); ROWS * WIDTH]).collect();
    for (values, place) in values.iter().zip(&mut places) {
        backend.upload(values, place);
    }
    for (values, place) in values.iter().zip(&places) {
        assert_eq!(backend.download(place, ROWS), *values);
    }
}

/// A step whose ops are measured computes what it computes otherwise, and each of its kernels has its calls, its bytes and its time.
fn a_step_is_timed_kernel_by_kernel<D: Device>(devices: Vec<Cuda<D>>) {
    const ROWS: usize = 3;
    for backend in devices {
        let profile = Profile::default();
        let x = numbers(61, ROWS * 16);
        let plain = gated(&backend, &x);
        let matrix_bytes = backend.matrix_bytes(&matrix(&backend, 62, (32, 16), WeightFormat::Bf16));
        let backend = Profiled::new(backend, profile.clone());
        let measured = gated(&backend, &x);
        assert_eq!(measured, plain);
        assert!(profile.is_by_device());
        let mut costs = profile.take();
        costs.retain(|op, _| op.kernel.is_some());
        let ops: Vec<Op> = costs.keys().map(|op| Op { kernel: None, ..*op }).collect();
        assert_eq!(ops, [Op::of("geglu"), Op { matrix: Some((16, 32)), ..Op::of("linear") }]);
        assert!(costs.keys().last().unwrap().kernel.unwrap().starts_with("product_8x"), "{costs:?}");
        let [geglu, linear] = [0, 1].map(|place| *costs.values().nth(place).unwrap());
        // Rows of two bytes a number, but for what must not be rounded, and the best of it.
        let product_bytes = matrix_bytes + ROWS * 2 * 16;
        let best_bytes = ROWS * 32 / 16 * 8;
        assert_eq!((linear.calls, linear.bytes as usize), (2, 2 * product_bytes + ROWS * 32 * (2 + 4) + best_bytes));
        assert_eq!((geglu.calls, geglu.bytes as usize), (1, 2 * ROWS * (32 + 16)));
        assert!([linear, geglu].iter().all(|cost| cost.time > Duration::ZERO), "{costs:?}");
        kernels_of_one_op_are_told_apart(&backend, &profile);
    }
}

/// Of many rows, half of which are drawn from all ids: the product, the cap, and two kernels that draw.
fn kernels_of_one_op_are_told_apart<D: Device>(backend: &Profiled<Cuda<D>>, profile: &Profile) {
    const ROWS: usize = 66;
    const VOCAB: usize = 320;
    let table = matrix(backend, 63, (VOCAB, 16), WeightFormat::Bf16);
    let x = upload(backend, &numbers(64, ROWS * 16), 16);
    let (mut logits, mut drawn) = (backend.wide_activations(ROWS, VOCAB).unwrap(), backend.drawn(ROWS).unwrap());
    let draws = (0..ROWS as u32).map(|row| {
        let temperature = if row % 2 == 0 { 0.0 } else { 1.0 };
        let sampling = Sampling { temperature, ..Sampling::GREEDY };
        Draw { row, choice: Choice { sampling, choice: 0, position: 0, forbid_end: false } }
    });
    let draws: Vec<Draw> = draws.collect();
    profile.take();
    let output = Output { table: &table, softcap: Some(30.0), end_ids: &[] };
    backend.step(|| backend.choose(&x, output, &draws, &mut logits, &mut drawn));
    let costs = profile.take();
    let bytes = |kernel| {
        let op = Op { matrix: Some((16, VOCAB)), kernel: Some(kernel), ..Op::of("choose") };
        let cost = costs.get(&op).unwrap_or_else(|| panic!("{kernel} of {costs:?}"));
        assert!(cost.calls == 1 && cost.time > Duration::ZERO);
        cost.bytes as usize
    };
    let (logit_bytes, best_bytes) = (ROWS * VOCAB * 4, ROWS * VOCAB / 16 * 8);
    assert_eq!(bytes("cuBLASLt"), backend.matrix_bytes(&table) + 2 * 16 * ROWS + logit_bytes);
    assert_eq!(bytes("softcap_rows"), 2 * logit_bytes + best_bytes);
    assert_eq!(bytes("weigh_parts"), logit_bytes / 2);
    assert_eq!(bytes("sample"), best_bytes + logit_bytes / 2 / 8);
    assert_eq!(costs.len(), 4, "{costs:?}");
}

fn gated<B: Backend>(backend: &B, x: &[f32]) -> Vec<f32> {
    let rows = x.len() / 16;
    let weights = matrix(backend, 62, (32, 16), WeightFormat::Bf16);
    let x = upload(backend, x, 16);
    let (mut gate_up, mut out) = (backend.activations(rows, 32).unwrap(), backend.activations(rows, 16).unwrap());
    let mut wide = backend.wide_activations(rows, 32).unwrap();
    backend.step(|| {
        backend.linear(&x, &weights, LinearRows::first(rows), &mut wide);
        backend.linear(&x, &weights, LinearRows::first(rows), &mut gate_up);
        backend.geglu(&gate_up, rows, &mut out);
    });
    backend.download(&out, rows)
}

fn pages_that_are_not_there_are_refused_within_a_step<D: Device>(backend: &Cuda<D>) {
    let shape = PageShape { pages: 2, layers: 1, kv_heads: 1, head_dim: 8 };
    let mut pages = backend.pages(shape, &[KvFormat::Bf16]).unwrap();
    let kv = backend.activations(1, 16).unwrap();
    let spans = [PageSpan { first: 0, tokens: 17 }];
    let mut write = |tables: &[u32]| {
        let rows = PagedRows { spans: &spans, tables, format: KvFormat::Bf16 };
        backend.step(|| {
            backend.write_pages(&kv, 0, rows, 0, &mut pages);
            backend.write_pages(&kv, 0, rows, 0, &mut pages);
        });
    };
    write(&[0, 1]);
    for wrong in [&[0, 2][..], &[0][..]] {
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| write(wrong)));
        assert!(refused.is_err(), "pages {wrong:?} of 2");
    }
    write(&[0, 1]);
}

fn what_the_kernels_do_not_compute_is_refused<D: Device>(backend: &Cuda<D>) {
    let part = WeightPart::Random { rows: 8, cols: 8, seed: 1, deviation: 1.0 };
    for format in [WeightFormat::F32, WeightFormat::Quantized(Scheme::Int4)] {
        assert!(matches!(backend.matrix(&[part], format, MatrixUse::Multiply), Err(Error::Unavailable { .. })));
    }
    let shape = PageShape { pages: 2, layers: 1, kv_heads: 1, head_dim: 8 };
    for format in [KvFormat::F32, KvFormat::Int8] {
        assert!(matches!(backend.pages(shape, &[format]), Err(Error::Unavailable { .. })));
    }
}

/// All of it on some devices.
macro_rules! table {
    ($module:ident, $feature:literal, $devices:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            use super::*;

            #[test]
            fn linear_and_logits_follow_the_reference() {
                on_each($devices(), ROWS, cases::linear_and_logits_follow_the_reference);
            }

            #[test]
            fn linear_reads_rows_from_an_offset_and_fused_parts_stand_side_by_side() {
                on_each($devices(), ROWS, cases::linear_reads_rows_from_an_offset_and_fused_parts_stand_side_by_side);
            }

            #[test]
            fn lookups_follow_the_reference_in_both_layouts() {
                on_each($devices(), ROWS, cases::lookups_follow_the_reference_in_both_layouts);
            }

            #[test]
            fn norms_and_seams_follow_the_reference() {
                on_each($devices(), ROWS, cases::norms_and_seams_follow_the_reference);
            }

            #[test]
            fn rotation_and_gated_activation_follow_the_reference() {
                on_each($devices(), ROWS, cases::rotation_and_gated_activation_follow_the_reference);
            }

            #[test]
            fn fused_ops_follow_the_reference() {
                on_each($devices(), ROWS, cases::fused_ops_follow_the_reference);
            }

            #[test]
            fn full_attention_follows_the_reference_on_ragged_segments() {
                on_each($devices(), TENSOR_CORES, cases::full_attention_follows_the_reference_on_ragged_segments);
            }

            #[test]
            fn paged_attention_follows_the_reference_and_reads_only_what_it_may() {
                on_each($devices(), ROWS, |run| {
                    cases::paged_attention_follows_the_reference_and_reads_only_what_it_may(run, KvFormat::Bf16);
                });
            }

            #[test]
            fn sampling_gives_exactly_the_defined_ids() {
                $devices().iter().for_each(cases::sampling_gives_exactly_the_defined_ids);
            }

            #[test]
            fn drawn_ids_are_embedded_before_and_after_they_are_taken() {
                on_each($devices(), 0.0, cases::drawn_ids_are_embedded_before_and_after_they_are_taken);
            }

            #[test]
            fn ids_drawn_from_products_are_those_of_the_logits() {
                $devices().iter().for_each(super::ids_drawn_from_products_are_those_of_the_logits);
            }

            #[test]
            fn all_rows_are_multiplied_alike_where_that_is_asked_for() {
                $devices().into_iter().for_each(super::all_rows_are_multiplied_alike_where_that_is_asked_for);
            }

            #[test]
            fn products_with_weights_of_a_byte_follow_the_reference() {
                super::products_with_weights_of_a_byte_follow_the_reference($devices());
            }

            #[test]
            fn a_step_computes_what_its_ops_compute_however_often_it_comes_again() {
                let backends = $devices().into_iter().chain($devices().into_iter().map(Cuda::overlapping));
                backends.for_each(|backend| {
                    super::a_step_computes_what_its_ops_compute_however_often_it_comes_again(&backend);
                });
            }

            #[test]
            fn scores_follow_the_reference_with_ranks_and_ties() {
                $devices().iter().for_each(cases::scores_follow_the_reference_with_ranks_and_ties);
            }

            #[test]
            fn rows_without_a_distribution_have_no_log_probabilities() {
                $devices().iter().for_each(cases::rows_without_a_distribution_have_no_log_probabilities);
            }

            #[test]
            fn a_row_alone_equals_the_row_among_others() {
                $devices().iter().for_each(super::a_row_alone_equals_the_row_among_others);
            }

            #[test]
            fn paged_attention_of_one_row_does_not_depend_on_others() {
                $devices().iter().for_each(super::paged_attention_of_one_row_does_not_depend_on_others);
            }

            #[test]
            fn random_weights_are_those_of_the_host() {
                $devices().iter().for_each(super::random_weights_are_those_of_the_host);
            }

            #[test]
            fn long_rows_arrive_whole_however_many_are_on_their_way() {
                $devices().iter().for_each(super::long_rows_arrive_whole_however_many_are_on_their_way);
            }

            #[test]
            fn a_step_is_timed_kernel_by_kernel() {
                super::a_step_is_timed_kernel_by_kernel($devices());
            }

            #[test]
            fn pages_that_are_not_there_are_refused_within_a_step() {
                $devices().iter().for_each(super::pages_that_are_not_there_are_refused_within_a_step);
            }

            #[test]
            fn what_the_kernels_do_not_compute_is_refused() {
                $devices().iter().for_each(super::what_the_kernels_do_not_compute_is_refused);
            }
        }
    };
}

table!(shim, "cuda-shim", shims);
table!(gpu, "cuda", gpus);

/// A device measures which kernel of a product is fastest; the shim draws it from its schedule. So many schedules draw each of
/// the up to three that there are.
#[cfg(feature = "cuda-shim")]
#[test]
fn every_kernel_of_a_product_gives_the_same_bits() {
    let (cols, width, gated) = (200, 130, 72);
    let of = |schedule: u64, rows: usize, format: WeightFormat| {
        let backend = Cuda::new(kernels::cuda::Shim::new(schedule << 32)).unwrap();
        let x = upload(&backend, &numbers(70, rows * cols), cols);
        let plain = matrix(&backend, 71, (width, cols), format);
        let gate_and_up = matrix(&backend, 72, (2 * gated, cols), format);
        let mut logits = backend.wide_activations(rows, width).unwrap();
        backend.logits(&x, &plain, Some(5.0), rows, &mut logits);
        let (mut pairs, mut out) =
            (backend.activations(rows, 2 * gated).unwrap(), backend.activations(rows, gated).unwrap());
        backend.linear_geglu(&x, &gate_and_up, LinearRows::first(rows), (&mut pairs, &mut out));
        let choice = Choice { sampling: Sampling::GREEDY, choice: 0, position: 0, forbid_end: false };
        let draws: Vec<Draw> = (0..rows as u32).map(|row| Draw { row, choice }).collect();
        let best = cases::drawn_ids(&backend, &logits, &draws, &[]);
        (backend.download(&logits, rows), backend.download(&out, rows), best)
    };
    for format in [WeightFormat::Bf16, WeightFormat::Quantized(Scheme::Int8)] {
        for rows in [1, 13, 20, 50] {
            let first = of(0, rows, format);
            (1..9).for_each(|schedule| assert!(of(schedule, rows, format) == first, "{rows} rows of {format:?}"));
        }
    }
}
