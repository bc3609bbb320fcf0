//! The table of cases on CUDA's kernels: through the shim, which runs each kernel on the processor, thread by thread, in
//! several orders of its threads; and on a GPU, where there is one.
#![cfg(any(feature = "cuda-shim", feature = "cuda"))]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod cases;

use cases::{Runner, Slack, fill, matrix, numbers, spans, upload};
use kernels::cuda::{Cuda, Device};
use kernels::reference::{Reference, Rounding};
use kernels::{
    AttentionShape, Backend, Error, KvFormat, LinearRows, MatrixUse, PageShape, PagedRows, Precision, Scheme,
    WeightFormat, WeightPart,
};

/// Of rows that are rounded once from nearly equal sums. Measured: 9.5e-6.
const ROWS: f32 = 2e-5;
/// Of attention whose weights are rounded for the tensor cores, over the largest score so far: the reference has them over the
/// largest of all. Measured: 1.9e-4.
const TENSOR_CORES: f32 = 4e-4;

/// The processor in a GPU's place, under several orders of its threads.
#[cfg(feature = "cuda-shim")]
fn shims() -> Vec<Cuda<kernels::cuda::Shim>> {
    (1..=3).map(|schedule| Cuda::new(kernels::cuda::Shim::new(schedule)).unwrap()).collect()
}

/// The machine's GPU. Where there is none its tests say so and check nothing.
#[cfg(feature = "cuda")]
fn gpus() -> Vec<Cuda<kernels::cuda::Driver>> {
    if kernels::cuda::is_present() {
        return vec![Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap()];
    }
    eprintln!("not run: this machine has no GPU");
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
/// one way of multiplying takes: up to 16, and more.
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
    let all = product(0..16);
    for rows in [0..1, 3..4, 15..16, 5..13, 0..9, 2..16] {
        let among = &all[rows.start * outputs..rows.end * outputs];
        assert_eq!(product(rows.clone()), among, "rows {rows:?}");
    }
    let many = product(0..300);
    for rows in [0..40, 100..117, 3..290] {
        let among = &many[rows.start * outputs..rows.end * outputs];
        assert_eq!(product(rows.clone()), among, "rows {rows:?} of many");
    }
}

/// The same for attention over pages: alone, and with other rows on other pages.
fn paged_attention_of_one_row_does_not_depend_on_others<D: Device>(backend: &Cuda<D>) {
    let shape =
        AttentionShape { heads: 6, kv_heads: 3, head_dim: 16, scale: 0.3, softcap: Some(9.0), window: Some(280) };
    let lens = [3_u32, 700, 1, 40];
    let (spans, tables) = spans(&lens, 52, KvFormat::Bf16);
    let pool = PageShape { pages: 52, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
    let kv = numbers(31, lens.iter().sum::<u32>() as usize * 2 * shape.kv_width());
    let q = numbers(32, lens.len() * shape.query_width());
    let all = PagedRows { spans: &spans, tables: &tables, format: KvFormat::Bf16 };
    let pages = fill(backend, (pool, Precision::Bf16), all, &kv);
    let attend = |rows: std::ops::Range<usize>| {
        let mut out = backend.activations(rows.len(), shape.query_width()).unwrap();
        let own = &q[rows.start * shape.query_width()..rows.end * shape.query_width()];
        let paged = PagedRows { spans: &spans[rows.clone()], ..all };
        let own = upload(backend, own, shape.query_width());
        backend.attend_paged(&own, paged, &shape, 1, &pages, &mut out);
        backend.download(&out, rows.len())
    };
    for (row, among) in attend(0..lens.len()).chunks(shape.query_width()).enumerate() {
        assert_eq!(attend(row..row + 1), among, "row {row}");
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

fn what_the_kernels_do_not_compute_is_refused<D: Device>(backend: &Cuda<D>) {
    let part = WeightPart::Random { rows: 8, cols: 8, seed: 1, deviation: 1.0 };
    for format in [WeightFormat::F32, WeightFormat::Quantized(Scheme::Int8)] {
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
            fn scores_follow_the_reference_with_ranks_and_ties() {
                $devices().iter().for_each(cases::scores_follow_the_reference_with_ranks_and_ties);
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
            fn what_the_kernels_do_not_compute_is_refused() {
                $devices().iter().for_each(super::what_the_kernels_do_not_compute_is_refused);
            }
        }
    };
}

table!(shim, "cuda-shim", shims);
table!(gpu, "cuda", gpus);
