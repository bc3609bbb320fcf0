//! Compiles the CUDA kernels of `cu`: by nvcc for GPUs (feature `cuda`), by g++ with the shim for the processor
//! (feature `cuda-shim`).

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Contents of a fat binary: machine code for the named generations, and code that the driver of a later GPU compiles.
const TARGETS: [&str; 3] =
    ["arch=compute_80,code=sm_80", "arch=compute_90a,code=sm_90a", "arch=compute_90,code=compute_90"];

fn main() {
    println!("cargo::rerun-if-changed=cu");
    let feature = |name: &str| std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    let folder = Path::new("cu");
    if feature("CUDA") {
        compile_for_gpus(folder);
    }
    if feature("CUDA_SHIM") {
        compile_for_processor(folder);
    }
}

/// All kernels, sorted by name.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of the kernels can be read");
    let paths = entries.map(|entry| entry.expect("its entries can be read").path());
    let mut kernels: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "cu")).collect();
    kernels.sort();
    kernels
}

fn out_folder() -> PathBuf {
    std::env::var_os("OUT_DIR").expect("cargo names the folder for results").into()
}

/// The compiler: of `CUDA_HOME`, of `PATH`, or what `scripts/cuda-toolchain.sh` installed.
fn nvcc() -> PathBuf {
    for name in ["CUDA_HOME", "PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let home = std::env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda-toolchain/home/bin");
    let folders = home.into_iter().chain(std::env::split_paths(&path)).chain([installed]);
    let found = folders.map(|folder| folder.join("nvcc")).find(|path| path.exists());
    found.expect("feature `cuda` needs nvcc: set CUDA_HOME, or run scripts/cuda-toolchain.sh")
}

/// Writes `images.rs`, each source's fat binary, and `ptxas.txt`, the compiler's report of registers and spills.
fn compile_for_gpus(folder: &Path) {
    let (nvcc, out) = (nvcc(), out_folder());
    let compiled: Vec<_> = std::thread::scope(|scope| {
        let compile = |source: &PathBuf| {
            let (nvcc, out) = (nvcc.clone(), out.clone());
            let source = source.clone();
            scope.spawn(move || compile_source(&nvcc, &source, &out))
        };
        let running: Vec<_> = sources(folder).iter().map(compile).collect();
        running.into_iter().map(|thread| thread.join().expect("every source compiles")).collect()
    });
    let (mut images, mut report) = (String::new(), String::new());
    for (image, said) in compiled {
        writeln!(images, "    include_bytes!({image:?}),").expect("strings take all");
        report.push_str(&said);
    }
    let generated = format!("/// Fat binaries of all sources.\nstatic IMAGES: &[&[u8]] = &[\n{images}];\n");
    std::fs::write(out.join("ptxas.txt"), report).expect("results can be written");
    std::fs::write(out.join("images.rs"), generated).expect("results can be written");
}

fn compile_source(nvcc: &Path, source: &Path, out: &Path) -> (PathBuf, String) {
    let image = out.join(source.file_stem().expect("sources have names")).with_extension("fatbin");
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", "-fatbin", "-Xptxas", "-v", "-o"]).arg(&image).arg(source);
    command.args(TARGETS.map(|target| format!("-gencode={target}")));
    let done = command.output().expect("nvcc runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{command:?}\n{said}");
    (image, said)
}

fn compile_for_processor(folder: &Path) {
    println!("cargo::rerun-if-env-changed=SHIM_SANITIZE");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(true).extra_warnings(true);
    // Sums must be rounded where a GPU rounds them.
    build.flags(["-ffp-contract=off", "-fno-extern-tls-init", "-Wno-unknown-pragmas", "-x", "c++"]);
    if let Some(sanitizers) = std::env::var_os("SHIM_SANITIZE") {
        build.opt_level(2);
        build.flag(format!("-fsanitize={}", sanitizers.display())).flag("-fno-omit-frame-pointer").debug(true);
        build.flag("-fno-sanitize-recover=all");
        // Before all other libraries, as they want to be.
        for library in ["asan", "ubsan"] {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
    } else {
        // At this level g++ unrolls the loops that set operands, and warns that they are not set. The build with
        // sanitizers has that warning.
        build.opt_level(3).flag("-Wno-uninitialized");
    }
    // Kernels are found by name at run time: no symbol asks for them.
    build.cargo_metadata(false).files(sources(folder)).file(folder.join("shim/shim.cc")).compile("cuda_shim");
    println!("cargo::rustc-link-search=native={}", out_folder().display());
    println!("cargo::rustc-link-lib=static:+whole-archive=cuda_shim");
    println!("cargo::rustc-link-lib=dylib=stdc++");
}
