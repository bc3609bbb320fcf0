//! Whole models on CUDA's kernels, through the shim and on a GPU if there is one: against the reference that rounds at
//! the same places, and against float32 on the demo's own synopses.
#![cfg(any(feature = "cuda-shim", feature = "cuda"))]
#![allow(clippy::unwrap_used)]

mod drift;
mod fixture;
mod runner;

use drift::{Distance, Drift, assert_within, demo_texts, distance, drift, fixture_texts, forced};
use fixture::{DemoRow, FOLDERS, SECOND};
use kernels::cpu::{Cpu, Isa};
use kernels::cuda::{Cuda, Device};
use kernels::reference::{Reference, Rounding};
use kernels::{Precision, Scheme};
use model::{Arithmetic, Checkpoint};

/// Tolerance for the fixtures' logits, which reach 30 (root mean square 8.6). Every layer rounds a dozen times, and one
/// rounding that falls the other way moves all later ones. Measured: 0.26 and 0.028.
const FIXTURE: Distance = Distance { largest: 0.4, root_mean_square: 0.04 };
/// Tolerance for those of the second generation, where one softmax over both sides and norms of heads carry roundings
/// further. Measured: 0.65 and 0.064.
const SECOND_FIXTURE: Distance = Distance { largest: 1.0, root_mean_square: 0.09 };
/// Number of the demo's synopses that are compared: the processor takes a second for each.
const DEMO_ROWS: usize = 12;
/// Mean divergence from float32 for each of their tokens, in nats. Measured: 1.3e-5.
const DEMO_DIVERGENCE: f64 = 3e-5;
/// Divergence with int8 weights, and the number of synopses that stay identical. Measured: 6.1e-5, and 10.
const BYTES_DIVERGENCE: f64 = 1.5e-4;
const BYTES_IDENTICAL: usize = 9;

/// The processor in a GPU's place.
#[cfg(feature = "cuda-shim")]
fn processor() -> Option<Cuda<kernels::cuda::Shim>> {
    Some(Cuda::new(kernels::cuda::Shim::new(1)).unwrap())
}

/// A machine without a GPU: its tests say so and check nothing, unless one was promised.
#[cfg(feature = "cuda")]
fn without_a_gpu() {
    assert!(std::env::var_os("ENCDEC_NEEDS_GPU").is_none(), "no GPU is found, nor what stands in for one");
    eprintln!("not run: this machine has no GPU");
}

/// The machine's GPU. Where there is none its tests say so and check nothing.
#[cfg(feature = "cuda")]
fn gpu() -> Option<Cuda<kernels::cuda::Driver>> {
    if kernels::cuda::is_present() {
        return Some(Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap());
    }
    without_a_gpu();
    None
}

fn the_fixtures_follow_the_reference_that_rounds_at_the_same_places<D: Device>(open: fn() -> Option<Cuda<D>>) {
    for (folder, most) in
        [(FOLDERS[0], FIXTURE), (FOLDERS[1], FIXTURE), (SECOND[0], SECOND_FIXTURE), (SECOND[1], SECOND_FIXTURE)]
    {
        let Some(backend) = open() else { return };
        let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
        let texts = fixture_texts(folder);
        let expected = forced(Reference { rounding: Rounding::Rows }, &checkpoint, Precision::Bf16, &texts);
        let distance = distance(&forced(backend, &checkpoint, Precision::Bf16, &texts), &expected);
        println!("{folder}: {distance:?}");
        assert_within(distance, most, folder);
    }
}

/// Checks a model in bfloat16, and one with int8 weights and bfloat16 activations.
fn the_demos_synopses_stay_near_float32<D: Device>(open: fn() -> Option<Cuda<D>>) {
    let bytes = Arithmetic { quantize: Some(Scheme::Int8), ..Precision::Bf16.into() };
    for (arithmetic, most, identical) in
        [(Precision::Bf16.into(), DEMO_DIVERGENCE, DEMO_ROWS), (bytes, BYTES_DIVERGENCE, BYTES_IDENTICAL)]
    {
        let Some(backend) = open() else { return };
        let drift = demo_drift(backend, arithmetic);
        println!("{arithmetic}: {drift:?}");
        assert!(drift.mean_divergence <= most && drift.identical >= identical, "{arithmetic}: {drift:?}");
    }
}

fn demo_drift<D: Device>(backend: Cuda<D>, arithmetic: Arithmetic) -> Drift {
    let checkpoint = Checkpoint::embedded().unwrap();
    let vocab = checkpoint.config().decoder.vocab;
    let mut rows = DemoRow::all();
    rows.truncate(DEMO_ROWS);
    let texts = demo_texts(&checkpoint, &rows);
    let exact = forced(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, &texts);
    drift(&rows, &exact, &forced(backend, &checkpoint, arithmetic, &texts), vocab)
}

/// All of it on a device.
macro_rules! on {
    ($module:ident, $feature:literal) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn the_fixtures_follow_the_reference_that_rounds_at_the_same_places() {
                super::the_fixtures_follow_the_reference_that_rounds_at_the_same_places(super::$module);
            }

            #[test]
            fn the_demos_synopses_stay_near_float32() {
                super::the_demos_synopses_stay_near_float32(super::$module);
            }
        }
    };
}

on!(processor, "cuda-shim");
on!(gpu, "cuda");
