//! The table of cases on CUDA's kernels, and what only the CUDA backend does: through the shim, which runs each kernel
//! on the processor, thread by thread, in several orders of its threads; and on a GPU where there is one.
#![cfg(any(feature = "cuda-shim", feature = "cuda"))]
#![allow(clippy::unwrap_used)]

mod attention;
#[allow(dead_code)]
#[path = "../cases/mod.rs"]
mod cases;
#[cfg(feature = "cuda")]
mod compiled;
mod draws;
#[cfg(feature = "cuda-shim")]
mod product_kernels;
mod products;
mod steps;
mod timing;
mod weights;

use cases::{Runner, Slack};
use kernels::cuda::{Cuda, Device};
use kernels::reference::{Reference, Rounding};
use kernels::{KvFormat, Precision, Stream};

/// Tolerance of rows that are rounded once from nearly equal sums. Measured: 9.5e-6.
const ROWS: f32 = 2e-5;
/// Tolerance of attention on tensor cores, whose weights are rounded over the largest score so far; the reference
/// rounds them over the largest of all. Measured: 1.9e-4.
const TENSOR_CORES: f32 = 4e-4;
/// Tolerance of attention to keys that a norm rounded the other way, by 2^-8 of themselves. Measured: 5.6e-5.
const NORMED_KEYS: f32 = 1e-4;

/// The processor in a GPU's place, under several orders of its threads.
#[cfg(feature = "cuda-shim")]
fn shims() -> Vec<Cuda<kernels::cuda::Shim>> {
    (1..=3).map(|schedule| Cuda::new(kernels::cuda::Shim::new(schedule)).unwrap()).collect()
}

/// The machine's GPU. Where there is none, tests say so and check nothing, unless a GPU was promised.
#[cfg(feature = "cuda")]
fn gpus() -> Vec<Cuda<kernels::cuda::Driver>> {
    if kernels::cuda::is_present() {
        return vec![Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap()];
    }
    assert!(std::env::var_os("ENCDEC_NEEDS_GPU").is_none(), "no GPU is found, nor what stands in for one");
    eprintln!("not run: this machine has no GPU");
    Vec::new()
}

/// Runs a case on each device. Rows are bfloat16: where float32 sums differ in the last bit one may be rounded the
/// other way, by 2^-7 of itself at most. `root_mean_square` is allowed for all numbers together.
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

/// Cases of the table that compare numbers, each within a tolerance.
macro_rules! cases_within {
    ($devices:ident: $($tolerance:expr => $($case:ident)+;)+) => {
        $($(
            #[test]
            fn $case() {
                on_each($devices(), $tolerance, cases::$case);
            }
        )+)+
    };
}

/// Tests that take a backend, by reference.
macro_rules! tests_of {
    ($devices:ident: $($module:ident::{ $($test:ident)+ })+) => {
        $($(
            #[test]
            fn $test() {
                $devices().iter().for_each($module::$test);
            }
        )+)+
    };
}

/// Tests that use a backend up.
macro_rules! tests_with {
    ($devices:ident: $($module:ident::{ $($test:ident)+ })+) => {
        $($(
            #[test]
            fn $test() {
                $devices().into_iter().for_each($module::$test);
            }
        )+)+
    };
}

/// All tests on some devices.
macro_rules! tests_on {
    ($module:ident, $feature:literal, $devices:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            use super::*;

            cases_within! { $devices:
                0.0 =>
                    drawn_ids_are_embedded_before_and_after_they_are_taken
                    norms_and_angles_of_other_heads_are_refused;
                ROWS =>
                    linear_and_logits_follow_the_reference
                    linear_reads_rows_from_an_offset_and_fused_parts_stand_side_by_side
                    lookups_follow_the_reference_in_both_layouts
                    an_id_may_have_a_row_of_its_own
                    norms_and_seams_follow_the_reference
                    rotation_and_gated_activation_follow_the_reference
                    scaled_rotation_follows_the_reference
                    heads_are_normed_before_they_are_rotated
                    ranges_of_columns_follow_the_reference
                    gated_products_follow_the_reference
                    rotation_with_writing_follows_the_reference;
                TENSOR_CORES => full_attention_follows_the_reference_on_ragged_segments;
            }

            #[test]
            fn paged_attention_follows_the_reference_and_reads_only_what_it_may() {
                on_each($devices(), ROWS, |run| {
                    cases::paged_attention_follows_the_reference_and_reads_only_what_it_may(run, KvFormat::Bf16);
                });
            }

            #[test]
            fn two_sides_follow_the_reference_under_one_softmax() {
                on_each($devices(), ROWS, |run| {
                    cases::two_sides_follow_the_reference_under_one_softmax(run, [KvFormat::Bf16; 2]);
                });
            }

            #[test]
            fn normed_heads_are_rotated_and_written() {
                on_each($devices(), NORMED_KEYS, |run| {
                    cases::normed_heads_are_rotated_and_written(run, KvFormat::Bf16)
                });
            }

            #[test]
            fn keys_are_normed_on_their_way_to_pages() {
                on_each($devices(), NORMED_KEYS, |run| {
                    cases::keys_are_normed_on_their_way_to_pages(run, KvFormat::Bf16)
                });
            }

            #[test]
            fn copied_pages_hold_every_layer_and_part_from_their_originals() {
                on_each($devices(), ROWS, |run| {
                    let (backend, format) = (run.backend, KvFormat::Bf16);
                    cases::copied_pages_hold_every_layer_and_part_from_their_originals(backend, run.precision, format);
                });
            }

            tests_of! { $devices:
                cases::{
                    sampling_gives_exactly_the_defined_ids
                    rows_without_an_order_choose_nothing_under_any_rule
                    best_ids_follow_the_reference_under_every_rule
                    scores_follow_the_reference_with_ranks_and_ties
                    rows_without_a_distribution_have_no_log_probabilities
                }
                attention::{
                    paged_attention_of_one_row_does_not_depend_on_others
                    pages_that_are_not_there_are_refused_within_a_step
                    pages_are_copied_within_a_step
                }
                draws::{ ids_drawn_from_products_are_those_of_the_logits }
                products::{
                    a_row_alone_equals_the_row_among_others
                    columns_of_a_range_are_those_of_the_whole_product
                }
                steps::{
                    a_step_computes_what_its_ops_compute_however_often_it_comes_again
                    banned_end_tokens_need_no_graph_of_their_own
                    rules_of_three_rows_and_of_four_replay_one_graph
                    a_panic_aside_does_not_keep_later_ops_aside
                    long_rows_arrive_whole_however_many_are_on_their_way
                }
                weights::{
                    random_weights_are_those_of_the_host
                    what_the_kernels_do_not_compute_is_refused
                    norms_of_heads_wider_than_a_warp_holds_are_refused
                }
            }

            #[test]
            fn a_step_whose_kernels_overlap_computes_what_its_ops_compute() {
                let overlapping = $devices().into_iter().map(Cuda::overlapping);
                overlapping.for_each(|backend| {
                    steps::a_step_computes_what_its_ops_compute_however_often_it_comes_again(&backend);
                });
            }

            tests_with! { $devices:
                products::{
                    all_rows_are_multiplied_alike_where_that_is_asked_for
                    products_with_weights_of_a_byte_follow_the_reference
                }
                timing::{
                    a_step_is_timed_kernel_by_kernel
                    kernels_of_one_op_are_told_apart
                }
            }
        }
    };
}

tests_on!(shim, "cuda-shim", shims);
tests_on!(gpu, "cuda", gpus);
