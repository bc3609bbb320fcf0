//! Where weights come from: tensors by their published names.
//!
//! Implemented by checkpoints and by random weights; read when a model is loaded.

use kernels::Scheme;

use super::tensor_data::TensorData;
use crate::config::ModelConfig;
use crate::error::Result;

/// Tensors by their published names.
pub trait TensorSource {
    /// The scheme that the matrices of the layers are quantised to already; see [`crate::Arithmetic`].
    fn scheme(&self) -> Option<Scheme>;
    /// Bytes of all tensors, for showing progress.
    fn total_bytes(&self) -> u64;
    /// Reads one tensor of the configuration's table.
    ///
    /// # Errors
    /// When its file cannot be read, or its numbers cannot be used.
    fn tensor(&self, name: &str) -> Result<TensorData>;
}

/// A source of the weights of an encoder-decoder.
pub trait WeightSource: TensorSource {
    /// The configuration of the encoder-decoder.
    fn config(&self) -> &ModelConfig;
}
