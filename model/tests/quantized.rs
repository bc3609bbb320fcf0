//! Quantised models: against the reference that multiplies the same integers, against float32 on the demo's own
//! synopses, and out of quantised checkpoints.
#![allow(clippy::unwrap_used)]

mod drift;
mod fixture;
mod runner;

use drift::{Distance, Drift, assert_within, demo_texts, distance, drift, fixture_texts, forced};
use fixture::{DemoRow, FOLDERS};
use kernels::cpu::{Cpu, Isa, Level};
use kernels::reference::Reference;
use kernels::{Precision, Scheme};
use model::{Arithmetic, Checkpoint, Error, Model, quantize};

const SCHEMES: [Scheme; 2] = [Scheme::Int8, Scheme::Int4];

#[test]
fn zz_measure() {
    let checkpoint = Checkpoint::embedded().unwrap();
    let (rows, vocab) = (DemoRow::all(), checkpoint.config().decoder.vocab);
    let texts = demo_texts(&checkpoint, &rows);
    let exact = forced(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, &texts);
    for scheme in SCHEMES {
        for precision in [Precision::Bf16, Precision::F32] {
            for isa in Isa::all() {
                let t = std::time::Instant::now();
                let arithmetic = Arithmetic { precision, quantize: Some(scheme) };
                let actual = forced(Cpu::new(isa, 1), &checkpoint, arithmetic, &texts);
                let t = t.elapsed();
                let drift = drift(&rows, &exact, &actual, vocab);
                println!("{} {arithmetic} {drift:?} {t:?}", isa.level().name());
            }
        }
    }
    for folder in FOLDERS {
        let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
        let texts = fixture_texts(folder);
        for scheme in SCHEMES {
            for precision in [Precision::Bf16, Precision::F32] {
                let arithmetic = Arithmetic { precision, quantize: Some(scheme) };
                for rounds_operands in [false, true] {
                    let t = std::time::Instant::now();
                    let expected = forced(Reference { rounds_operands }, &checkpoint, arithmetic, &texts);
                    println!("ref {:?}", t.elapsed());
                    for isa in Isa::all() {
                        let actual = forced(Cpu::new(isa, 1), &checkpoint, arithmetic, &texts);
                        println!(
                            "{folder} {} {arithmetic} {rounds_operands} {:?}",
                            isa.level().name(),
                            distance(&actual, &expected)
                        );
                    }
                }
            }
        }
    }
}
