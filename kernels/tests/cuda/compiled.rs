//! The kernels as nvcc compiled them for GPUs, and opening a driver that may be absent.

use std::collections::BTreeSet;

use kernels::cuda::{Driver, is_present};

/// The report of nvcc's assembler about each kernel.
const REPORT: &str = include_str!(concat!(env!("OUT_DIR"), "/ptxas.txt"));

/// The kernels that are compiled for a target.
fn kernels(target: &str) -> BTreeSet<&str> {
    let compiled = REPORT.lines().filter_map(|line| line.split_once("Compiling entry function '"));
    let named = compiled.filter_map(|(_, rest)| rest.split_once("' for "));
    named.filter(|(_, on)| on.contains(target)).map(|(kernel, _)| kernel).collect()
}

#[test]
fn no_kernel_spills_registers_on_any_target() {
    let (older, newer) = (kernels("sm_80"), kernels("sm_90a"));
    assert!(older == newer && older.len() > 8 && older.contains("sample"), "{older:?} {newer:?}");
    let spills: Vec<&str> = REPORT.lines().filter(|line| line.contains("spill stores")).map(str::trim).collect();
    assert_eq!(spills.len(), older.len() + newer.len(), "{REPORT}");
    let clean = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
    assert!(spills.iter().all(|line| *line == clean), "{REPORT}");
}

#[test]
fn without_a_driver_opening_says_so() {
    if is_present() {
        assert!(Driver::open(0).is_ok());
    } else {
        let error = Driver::open(0).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.starts_with("no GPU can be used: ")));
    }
}
