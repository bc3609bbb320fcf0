//! The device on which a run computes.
//!
//! Called by `run`. The tensor library knows whether it was compiled with CUDA.

use candle_core::{DType, Device};

use super::error::{Error, Result};
use super::settings::{self, Precision, Settings};

/// The device of the settings.
///
/// # Errors
/// When the program was built without CUDA, or there is no GPU.
pub fn open(settings: &Settings) -> Result<Device> {
    match settings.device {
        settings::Device::Cpu => Ok(Device::Cpu),
        settings::Device::Cuda if !candle_core::utils::cuda_is_available() => Err(Error::NoCuda),
        settings::Device::Cuda => Ok(Device::new_cuda(0)?),
    }
}

/// Type of the activations.
pub fn compute(settings: &Settings) -> DType {
    match settings.precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_refused_by_a_program_that_cannot_use_one() {
        let settings = serde_json::json!({
            "out": "run", "device": "cuda",
            "model": { "init": "base" }, "objective": { "kind": "causal" }, "data": { "train": [] },
        });
        let opened = open(&serde_json::from_value(settings).unwrap());
        if !candle_core::utils::cuda_is_available() {
            assert!(opened.unwrap_err().to_string().contains("train-cuda"));
        }
    }
}
