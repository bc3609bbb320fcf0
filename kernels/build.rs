//! Compiles the CUDA kernels of `cu`: with the shim, for the processor.

use std::path::{Path, PathBuf};

/// Files that others include.
const INCLUDED: [&str; 4] = ["device.cuh", "select.cuh", "shim/shim.h", "shim/shim.cc"];

fn main() {
    println!("cargo::rerun-if-changed=cu");
    let folder = Path::new("cu");
    if std::env::var_os("CARGO_FEATURE_CUDA_SHIM").is_some() {
        compile_for_processor(folder);
    }
}

/// All kernels, sorted by name.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of the kernels can be read");
    let paths = entries.map(|entry| entry.expect("its entries can be read").path());
    let mut kernels: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "cu")).collect();
    kernels.sort();
    assert!(INCLUDED.iter().all(|file| folder.join(file).exists()), "all files that kernels include are there");
    kernels
}

fn compile_for_processor(folder: &Path) {
    println!("cargo::rerun-if-env-changed=SHIM_SANITIZE");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).warnings(true).extra_warnings(true);
    // Sums must be rounded where a GPU rounds them.
    build.flags(["-ffp-contract=off", "-Wno-unknown-pragmas", "-x", "c++"]);
    if let Some(sanitizers) = std::env::var_os("SHIM_SANITIZE") {
        build.flag(format!("-fsanitize={}", sanitizers.display())).flag("-fno-omit-frame-pointer").debug(true);
        build.flag("-fno-sanitize-recover=all");
        // Before all other libraries, as they want to be.
        for library in ["asan", "ubsan"] {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
    }
    // Kernels are found by name at run time: no symbol asks for them.
    build.cargo_metadata(false).files(sources(folder)).file(folder.join("shim/shim.cc")).compile("cuda_shim");
    let out = std::env::var("OUT_DIR").expect("cargo names the folder for results");
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static:+whole-archive=cuda_shim");
    println!("cargo::rustc-link-lib=dylib=stdc++");
}
