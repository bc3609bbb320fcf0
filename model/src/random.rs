//! Random weights of a published shape, for measuring without files.
//!
//! Made by the server for `--shape`. Reproducible: a tensor's numbers follow from its name.

use std::collections::HashMap;

use kernels::Scheme;

use crate::checkpoint::{Checkpoint, Numbers, TensorData, TensorTable};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::weights::{TensorSource, WeightSource};

/// Deviation of matrices, as the published models are initialised; norms are zero.
const DEVIATION: f32 = 0.02;

/// Weights that no one trained.
#[derive(Debug)]
pub struct RandomWeights {
    config: ModelConfig,
    shapes: HashMap<String, Vec<usize>>,
}

impl RandomWeights {
    /// Weights of a configuration.
    pub fn new(config: ModelConfig) -> Self {
        let shapes = TensorTable::new(&config).iter().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
        Self { config, shapes }
    }
}

impl WeightSource for RandomWeights {
    fn config(&self) -> &ModelConfig {
        &self.config
    }
}

impl TensorSource for RandomWeights {
    fn scheme(&self) -> Option<Scheme> {
        None
    }

    fn total_bytes(&self) -> u64 {
        self.config.parameters() * kernels::DType::Bf16.bytes() as u64
    }

    fn tensor(&self, name: &str) -> Result<TensorData> {
        // FNV-1a: a seed that does not change with the program.
        let seed = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let (shape, deviation) = match self.shapes[name][..] {
            [rows, cols] => ((rows, cols), DEVIATION),
            ref other => ((1, other.iter().product()), 0.0),
        };
        Ok(TensorData::new(shape, Numbers::Random { seed, deviation }))
    }
}

impl WeightSource for Checkpoint {
    fn config(&self) -> &ModelConfig {
        self.config()
    }
}

impl TensorSource for Checkpoint {
    fn scheme(&self) -> Option<Scheme> {
        self.scheme()
    }

    fn total_bytes(&self) -> u64 {
        self.tensor_bytes()
    }

    fn tensor(&self, name: &str) -> Result<TensorData> {
        self.tensor(name)
    }
}
