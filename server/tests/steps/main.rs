//! Steps that are padded, replayed and planned ahead give the tokens of steps that are not: on the processor, on CUDA's
//! kernels through the shim, and on a GPU if there is one.
#![allow(clippy::unwrap_used)]

mod beams;
#[path = "../broken_pair/mod.rs"]
mod broken_pair;
mod constraints;
mod controls;
mod demo_engine;
mod drafts;
mod exact;
mod form_memory;
#[allow(dead_code, reason = "the compiler checks it everywhere; it runs where a feature gives a device")]
mod graphs;
mod mask_queue;
mod mixed;
#[allow(dead_code, reason = "the compiler checks it everywhere; it runs where a feature gives a device")]
mod neighbours;
mod not_finite;
mod processor;
mod schemas;
mod second_generation;

/// Opens the GPU, or says that there is none. Panics without a GPU where one was promised.
#[cfg(feature = "cuda")]
fn gpu() -> Option<kernels::cuda::Cuda<kernels::cuda::Driver>> {
    if !kernels::cuda::is_present() {
        assert!(std::env::var_os("ENCDEC_NEEDS_GPU").is_none(), "no GPU is found, nor what stands in for one");
        eprintln!("not run: this machine has no GPU");
        return None;
    }
    Some(kernels::cuda::Cuda::new(kernels::cuda::Driver::open(0).unwrap()).unwrap())
}
