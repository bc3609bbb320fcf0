//! Random weights of a published shape, for measuring without files.
//!
//! Made by the server for `--shape`. A tensor's numbers follow from its name, so they are the same in every run.

use std::collections::HashMap;

use kernels::Scheme;

use crate::checkpoint::{Numbers, TensorData, TensorSource, TensorTable, WeightSource};
use crate::config::ModelConfig;
use crate::error::Result;

/// Deviation of matrices, as in the first weights of the published models; norms are zero.
const DEVIATION: f32 = 0.02;

/// Untrained weights.
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
        let (rows, cols, deviation) = match self.shapes[name][..] {
            [rows, cols] => (rows, cols, DEVIATION),
            ref other => (1, other.iter().product(), 0.0),
        };
        Ok(TensorData { rows, cols, numbers: Numbers::Random { seed, deviation } })
    }
}
