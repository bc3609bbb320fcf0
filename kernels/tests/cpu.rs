//! The table of cases on the processor, on every instruction set there is; and what only the processor does.
#![allow(clippy::unwrap_used)]

mod cases;

use std::ops::Range;

use cases::{Dealer, FORMAT_PAIRS, FORMATS, PRODUCTS, Runner, Sequences, Slack, fill, matrix, numbers, upload};
use kernels::cpu::{Cpu, Isa, Pages};
use kernels::profiled::{Op, Profile};
use kernels::reference::{Reference, Rounding};
use kernels::{
    AttentionOps, AttentionShape, Backend, FullAttention, KvFormat, KvSide, LayerPages, LinearRows, Outputs, PageCopy,
    PageShape, PagedAttention, PagedRows, Precision, ProductOps, Profiled, QueryRows, STRIP_KEYS, Scheme, Segment,
    Storage, Stream, WeightFormat, Window,
};

/// A backend, and the reference that rounds where it rounds.
fn backends(precision: Precision) -> Vec<(Cpu, Reference)> {
    let dots = |isa: Isa| precision == Precision::Bf16 && isa.level().multiplies_bf16();
    let rounding = |isa| if dots(isa) { Rounding::Operands } else { Rounding::Storage };
    let pairs = Isa::all().flat_map(|isa| [(isa, 1), (isa, 2)]);
    pairs.map(|(isa, threads)| (Cpu::new(isa, threads), Reference { rounding: rounding(isa) })).collect()
}

/// Runs a case on every backend. A rounding to bfloat16 may fall either way when its float32 input differs in the last
/// bit, so ops that round inside allow themselves that much. Measured for all numbers together: 3e-6 at most; rounding
/// anywhere else than the reference gives 1e-4.
fn on_each(precisions: &[Precision], case: impl Fn(&Runner<'_, Cpu>)) {
    for &precision in precisions {
        for (backend, reference) in backends(precision) {
            let (label, slack) = (backend.describe(), Slack { largest: 0.0, root_mean_square: 1e-5 });
            let label = format!("{precision:?}, {label}");
            case(&Runner { backend: &backend, reference: &reference, precision, label, head_multiple: 1, slack });
        }
    }
}

const BOTH: [Precision; 2] = [Precision::F32, Precision::Bf16];

#[test]
fn linear_and_logits_follow_the_reference() {
    on_each(&BOTH, cases::linear_and_logits_follow_the_reference);
}

#[test]
fn linear_reads_rows_from_an_offset_and_fused_parts_stand_side_by_side() {
    on_each(&BOTH, cases::linear_reads_rows_from_an_offset_and_fused_parts_stand_side_by_side);
}

#[test]
fn lookups_follow_the_reference_in_both_layouts() {
    on_each(&BOTH, cases::lookups_follow_the_reference_in_both_layouts);
}

#[test]
fn an_id_may_have_a_row_of_its_own() {
    on_each(&BOTH, cases::an_id_may_have_a_row_of_its_own);
}

#[test]
fn gated_products_follow_the_reference() {
    on_each(&BOTH, cases::gated_products_follow_the_reference);
}

#[test]
fn rotation_with_writing_follows_the_reference() {
    on_each(&BOTH, cases::rotation_with_writing_follows_the_reference);
}

#[test]
fn drawn_ids_are_embedded_before_and_after_they_are_taken() {
    on_each(&BOTH, cases::drawn_ids_are_embedded_before_and_after_they_are_taken);
}

#[test]
fn norms_and_seams_follow_the_reference() {
    on_each(&BOTH, cases::norms_and_seams_follow_the_reference);
}

#[test]
fn rotation_and_gated_activation_follow_the_reference() {
    on_each(&BOTH, cases::rotation_and_gated_activation_follow_the_reference);
}

#[test]
fn full_attention_follows_the_reference_on_ragged_segments() {
    on_each(&BOTH, cases::full_attention_follows_the_reference_on_ragged_segments);
}

#[test]
fn paged_attention_follows_the_reference_and_reads_only_what_it_may() {
    for (format, precision) in FORMATS {
        on_each(&[precision], |run| {
            cases::paged_attention_follows_the_reference_and_reads_only_what_it_may(run, format);
        });
    }
}

#[test]
fn two_sides_follow_the_reference_under_one_softmax() {
    for (formats, precision) in FORMAT_PAIRS {
        on_each(&[precision], |run| cases::two_sides_follow_the_reference_under_one_softmax(run, formats));
    }
}

#[test]
fn scaled_rotation_follows_the_reference() {
    on_each(&BOTH, cases::scaled_rotation_follows_the_reference);
}

#[test]
fn heads_are_normed_before_they_are_rotated() {
    on_each(&BOTH, cases::heads_are_normed_before_they_are_rotated);
}

#[test]
fn norms_and_angles_of_other_heads_are_refused() {
    on_each(&BOTH, cases::norms_and_angles_of_other_heads_are_refused);
}

#[test]
fn normed_heads_are_rotated_and_written() {
    for (format, precision) in FORMATS {
        on_each(&[precision], |run| cases::normed_heads_are_rotated_and_written(run, format));
    }
}

#[test]
fn keys_are_normed_on_their_way_to_pages() {
    for (format, precision) in FORMATS {
        on_each(&[precision], |run| cases::keys_are_normed_on_their_way_to_pages(run, format));
    }
}

#[test]
fn keys_normed_on_their_way_are_those_of_the_norm_by_itself() {
    for (format, precision) in FORMATS {
        on_each(&[precision], |run| {
            cases::keys_normed_on_their_way_are_those_of_the_norm_by_itself(run.backend, precision, format);
        });
    }
}

#[test]
fn copied_pages_hold_every_layer_and_part_from_their_originals() {
    for (format, precision) in FORMATS {
        on_each(&[precision], |run| {
            cases::copied_pages_hold_every_layer_and_part_from_their_originals(run.backend, precision, format);
        });
    }
}

#[test]
fn ranges_of_columns_follow_the_reference() {
    on_each(&BOTH, cases::ranges_of_columns_follow_the_reference);
}

#[test]
fn columns_of_a_range_are_those_of_the_whole_product() {
    let quantized = [Scheme::Int8, Scheme::Int4].map(WeightFormat::Quantized);
    let formats: Vec<_> = [WeightFormat::F32, WeightFormat::Bf16].into_iter().chain(quantized).collect();
    on_each(&[Precision::F32], |run| {
        cases::columns_of_a_range_are_those_of_the_whole_product(run.backend, &formats, &[1, 7, 300]);
    });
}

#[test]
fn a_profile_counts_the_columns_and_the_pages_that_an_op_moves() {
    let (profile, cpu) = (Profile::default(), Cpu::new(Isa::detect(), 1));
    let pool = PageShape { pages: 4, layers: 2, kv_heads: 2, head_dim: 16 };
    let page_bytes = cpu.page_bytes(pool, &[KvFormat::Bf16]);
    let profiled = Profiled::new(cpu, profile.clone());
    let weights = matrix(&profiled, 1, (128, 32), WeightFormat::F32);
    let (x, mut out) = (upload(&profiled, &[1.0; 64], 32), profiled.activations(2, 64).unwrap());
    let mut pages = profiled.pages(pool, &[KvFormat::Bf16]).unwrap();
    profile.take();
    profiled.linear(&x, Outputs::of(&weights, 64..128), LinearRows::first(2), &mut out);
    profiled.copy_pages(&[PageCopy { from: 0, to: 3 }, PageCopy { from: 1, to: 2 }], &mut pages);
    let costs = profile.take();
    let bytes = |op: Op| costs.get(&op).unwrap_or_else(|| panic!("{costs:?}")).bytes as usize;
    assert_eq!(bytes(Op::of("copy_pages")), 2 * 2 * page_bytes);
    assert_eq!(bytes(Op { matrix: Some((32, 64)), ..Op::of("linear") }), 4 * (64 * 32 + 2 * 32 + 2 * 64));
}

#[test]
fn sampling_gives_exactly_the_defined_ids() {
    on_each(&[Precision::F32], |run| cases::sampling_gives_exactly_the_defined_ids(run.backend));
}

#[test]
fn rows_without_an_order_choose_nothing_under_any_rule() {
    on_each(&[Precision::F32], |run| {
        cases::rows_without_an_order_choose_nothing_under_any_rule(run.backend);
    });
}

#[test]
fn best_ids_follow_the_reference_under_every_rule() {
    on_each(&[Precision::F32], |run| cases::best_ids_follow_the_reference_under_every_rule(run.backend));
}

#[test]
fn scores_follow_the_reference_with_ranks_and_ties() {
    on_each(&[Precision::F32], |run| cases::scores_follow_the_reference_with_ranks_and_ties(run.backend));
}

#[test]
fn rows_without_a_distribution_have_no_log_probabilities() {
    on_each(&[Precision::F32], |run| cases::rows_without_a_distribution_have_no_log_probabilities(run.backend));
}

/// Rows, input and output features of products that tiles of 16 rows or 32 and 64 inputs divide, or nearly.
const TILED: [(usize, usize, usize); 5] = [(8, 64, 5), (16, 128, 130), (17, 64, 64), (70, 192, 200), (230, 64, 129)];

#[test]
fn products_with_integers_are_those_of_the_reference_to_the_last_bit() {
    let reference = Reference { rounding: Rounding::Storage };
    let products = [Scheme::Int8, Scheme::Int4].into_iter();
    let products = products.flat_map(|scheme| PRODUCTS.into_iter().chain(TILED).map(move |shape| (scheme, shape)));
    for (scheme, (rows, cols, outputs)) in products {
        let mut x = numbers(1, rows * cols);
        x[0] = -40.0;
        let expected = integer_product(&reference, scheme, &x, (rows, cols, outputs));
        for (cpu, _) in backends(Precision::F32) {
            let actual = integer_product(&cpu, scheme, &x, (rows, cols, outputs));
            assert_eq!(actual, expected, "{scheme:?}, {rows} x {cols} x {outputs}, {}", cpu.describe());
        }
    }
}

fn integer_product<B: Backend>(
    backend: &B,
    scheme: Scheme,
    x: &[f32],
    (rows, cols, outputs): (usize, usize, usize),
) -> Vec<f32> {
    let weights = matrix(backend, 2, (outputs, cols), WeightFormat::Quantized(scheme));
    let mut out = backend.activations(rows, outputs).unwrap();
    backend.linear(&upload(backend, x, cols), &weights, LinearRows::first(rows), &mut out);
    backend.download(&out, rows)
}

#[test]
fn gated_products_have_the_bits_of_their_parts() {
    let quantized = [Scheme::Int8, Scheme::Int4].map(WeightFormat::Quantized);
    for format in [WeightFormat::F32, WeightFormat::Bf16].into_iter().chain(quantized) {
        for (isa, threads) in Isa::all().flat_map(|isa| [1, 2, 5].map(|threads| (isa, threads))) {
            let label = format!("{format:?}, {isa:?}, {threads} threads");
            cases::gated_products_have_the_bits_of_their_parts(&Cpu::new(isa, threads), format, &label);
        }
    }
}

/// The promise of [`Backend`], for products: bit for bit, whatever the batch and the number of threads.
#[test]
fn a_row_alone_equals_the_row_in_any_batch_on_any_number_of_threads() {
    let quantized = [Scheme::Int8, Scheme::Int4].map(WeightFormat::Quantized);
    for format in [WeightFormat::F32, WeightFormat::Bf16].into_iter().chain(quantized) {
        for isa in Isa::all() {
            let run = |threads: usize, rows: Range<usize>| {
                let cpu = Cpu::new(isa, threads);
                let (cols, outputs) = (192, 200);
                let x = numbers(20, 500 * cols);
                let weights = matrix(&cpu, 21, (outputs, cols), format);
                let mut out = cpu.activations(rows.len(), outputs).unwrap();
                let x = upload(&cpu, &x[rows.start * cols..rows.end * cols], cols);
                cpu.linear(&x, &weights, LinearRows::first(rows.len()), &mut out);
                cpu.download(&out, rows.len())
            };
            let all = run(1, 0..500);
            let cuts = [(2, 0..500), (5, 0..499), (16, 0..40), (1, 17..18), (2, 17..18), (3, 100..132), (2, 3..9)];
            for (threads, rows) in cuts {
                let expected = &all[rows.start * 200..rows.end * 200];
                assert_eq!(run(threads, rows.clone()), expected, "{format:?} {isa:?} {threads} {rows:?}");
            }
        }
    }
}

/// More keys than a strip of scores holds, beside a segment that has fewer. The fastest processor has all queries, the
/// others the last thousand of the long segment, which are many groups and see the same keys.
#[test]
fn full_attention_over_thousands_of_keys_follows_the_reference() {
    let shape = AttentionShape { heads: 2, kv_heads: 1, head_dim: 8, scale: 0.35, softcap: None };
    let (long, short) = (STRIP_KEYS as u32 + 300, 50);
    let segments = [Segment { start: 0, len: long }, Segment { start: long, len: short }];
    let (rows, width) = ((long + short) as usize, shape.query_width() + 2 * shape.kv_width());
    let qkv: Vec<f32> = numbers(31, rows * width).iter().map(|v| v * 2.0).collect();
    let last = QueryRows { start: long as usize - 1000, end: rows };
    let fastest = backends(Precision::F32).pop().unwrap();
    // In float32 no operand is rounded: what is expected then is expected of bfloat16 without rounded operands too.
    let mut expected: Vec<((Rounding, usize), Vec<f32>)> = Vec::new();
    let lasts = BOTH.map(|precision| (precision, last, backends(precision)));
    for (precision, queries, backends) in lasts.into_iter().chain([(BOTH[0], QueryRows::ALL, vec![fastest])]) {
        let attention = FullAttention { shape: &shape, window: Window::default(), precision, queries };
        let wanted = |all: Vec<f32>| all[queries.start * shape.query_width()..].to_vec();
        for (cpu, reference) in backends {
            let known = expected.iter().position(|(what, _)| *what == (reference.rounding, queries.start));
            let known = known.unwrap_or_else(|| {
                let mut out = reference.activations(rows, shape.query_width()).unwrap();
                reference.attend_full(&upload(&reference, &qkv, width), &segments, attention, &mut out);
                expected.push(((reference.rounding, queries.start), wanted(reference.download(&out, rows))));
                expected.len() - 1
            });
            let mut out = cpu.activations(rows, shape.query_width()).unwrap();
            cpu.attend_full(&upload(&cpu, &qkv, width), &segments, attention, &mut out);
            let slack = Slack { largest: cases::attention_tolerance(precision), root_mean_square: 1e-5 };
            let label = format!("{precision:?}, {}", cpu.describe());
            cases::assert_close(&label, &wanted(cpu.download(&out, rows)), &expected[known].1, slack);
        }
    }
}

/// A segment alone and among others.
#[test]
fn full_attention_of_one_sequence_does_not_depend_on_others_or_on_threads() {
    let shape = AttentionShape { heads: 6, kv_heads: 3, head_dim: 16, scale: 0.3, softcap: Some(9.0) };
    let (width, lens) = (shape.query_width() + 2 * shape.kv_width(), [3_u32, 70, 1, 40]);
    for precision in [Precision::F32, Precision::Bf16] {
        for (isa, threads) in Isa::all().flat_map(|isa| [1, 2, 5, 16].map(|threads| (isa, threads))) {
            let full = |cpu: &Cpu, lens: &[u32], qkv: &[f32]| {
                let start = |i: usize| lens[..i].iter().sum();
                let segments: Vec<_> = (0..lens.len()).map(|i| Segment { start: start(i), len: lens[i] }).collect();
                let rows = qkv.len() / width;
                let mut out = cpu.activations(rows, shape.query_width()).unwrap();
                let attention = FullAttention {
                    shape: &shape,
                    window: Window::symmetric(Some(20)),
                    precision,
                    queries: QueryRows::ALL,
                };
                cpu.attend_full(&upload(cpu, qkv, width), &segments, attention, &mut out);
                cpu.download(&out, rows)
            };
            let (alone, many) = (Cpu::new(isa, 1), Cpu::new(isa, threads));
            let qkv = numbers(30, lens.iter().sum::<u32>() as usize * width);
            let together = full(&many, &lens, &qkv);
            let mut row = 0;
            for len in lens {
                let rows = row..row + len as usize;
                let own = full(&alone, &[len], &qkv[rows.start * width..rows.end * width]);
                let among = &together[rows.start * shape.query_width()..rows.end * shape.query_width()];
                assert_eq!(own, among, "full, {isa:?}, {threads} threads, {len} positions");
                row = rows.end;
            }
        }
    }
}

/// A row over one side and over two, of which it may see some of both, of one or nothing.
#[test]
fn paged_attention_of_one_row_does_not_depend_on_others_or_on_threads() {
    let shape = AttentionShape { heads: 6, kv_heads: 3, head_dim: 16, scale: 0.3, softcap: Some(9.0) };
    let (width, rows) = (shape.query_width(), 5);
    for ([first, second], precision) in FORMAT_PAIRS {
        let mut dealer = Dealer::new(24);
        let first = dealer.deal(&[3, 70, 1, 40, 0], first);
        let second = dealer.deal(&[40, 0, 3, 70, 0], second);
        let pool = PageShape { pages: 24, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let [first_kv, second_kv] = [31, 33].map(|seed| numbers(seed, 114 * 2 * shape.kv_width()));
        let sequences =
            [Sequences { rows: first.rows(), kv: &first_kv }, Sequences { rows: second.rows(), kv: &second_kv }];
        let q = numbers(32, rows * width);
        let both = PagedAttention {
            shape: &shape,
            first: KvSide { rows: first.rows(), window: Some(20) },
            second: Some(KvSide { rows: second.rows(), window: None }),
        };
        for attention in [both, PagedAttention { second: None, ..both }] {
            let attend = |cpu: &Cpu, pages: &Pages, rows: Range<usize>| {
                let [first, second] = [Some(attention.first), attention.second].map(|side| {
                    side.map(|side| KvSide {
                        rows: PagedRows { spans: &side.rows.spans[rows.clone()], ..side.rows },
                        ..side
                    })
                });
                let attention = PagedAttention { first: first.unwrap(), second, ..attention };
                let mut out = cpu.activations(rows.len(), width).unwrap();
                let q = upload(cpu, &q[rows.start * width..rows.end * width], width);
                cpu.attend_paged(&q, attention, LayerPages { pages, layer: 1 }, &mut out);
                cpu.download(&out, rows.len())
            };
            for (isa, threads) in Isa::all().flat_map(|isa| [1, 2, 5, 16].map(|threads| (isa, threads))) {
                let (alone, many) = (Cpu::new(isa, 1), Cpu::new(isa, threads));
                let pages = fill(&many, pool, precision, &sequences);
                for (row, among) in attend(&many, &pages, 0..rows).chunks(width).enumerate() {
                    let label = format!("{:?}, {isa:?}, {threads} threads, row {row}", attention.first.rows.format);
                    assert_eq!(attend(&alone, &pages, row..row + 1), among, "{label}");
                }
            }
        }
    }
}
