//! Results of transformers for one training batch, and the numbers of tensors.
//!
//! Shared by the tests of the network that is trained.
#![allow(dead_code, clippy::unwrap_used)]

use candle_core::Tensor;
use model::training::{Batch, Example, Network, NetworkOptions};
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::fixture;

/// One batch with its loss and gradient norm.
#[derive(Deserialize)]
pub struct TrainFixture {
    input_ids: Vec<Vec<u32>>,
    labels: Vec<Vec<i64>>,
    /// Mean loss before each of three steps.
    pub losses: Vec<f64>,
    /// Length of the first gradient.
    pub grad_norm_step0: f64,
}

impl TrainFixture {
    pub fn read(folder: &str) -> Self {
        serde_json::from_slice(&fixture::bytes(&format!("{folder}/train.json"))).unwrap()
    }

    /// The rows without their padding.
    pub fn batch(&self) -> Batch {
        let target = |labels: &Vec<i64>| labels.iter().filter_map(|&label| u32::try_from(label).ok()).collect();
        let rows = self.input_ids.iter().zip(&self.labels);
        Batch {
            examples: rows
                .map(|(source, labels)| Example::Pair { source: source.clone(), target: target(labels) })
                .collect(),
        }
    }
}

/// A fixture's checkpoint as a network.
pub fn open(folder: &str) -> Network {
    Network::open(&fixture::path(folder), &NetworkOptions::default()).unwrap()
}

/// The one text of a decoder-only fixture.
pub fn source_ids(folder: &str) -> Vec<u32> {
    let cases: serde_json::Value = serde_json::from_slice(&fixture::bytes(&format!("{folder}/cases.json"))).unwrap();
    serde_json::from_value(cases[0]["input_ids"].clone()).unwrap()
}

/// A tensor of a fixture's file.
pub fn read(folder: &str, file: &str, name: &str) -> Vec<f32> {
    let bytes = fixture::bytes(&format!("{folder}/{file}.safetensors"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap().data().to_vec();
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Names of all tensors of a fixture's file.
pub fn names(folder: &str, file: &str) -> Vec<String> {
    let bytes = fixture::bytes(&format!("{folder}/{file}.safetensors"));
    SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect()
}

/// All numbers of a tensor.
pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Length of a vector.
pub fn norm(numbers: impl IntoIterator<Item = f32>) -> f64 {
    numbers.into_iter().map(|number| f64::from(number).powi(2)).sum::<f64>().sqrt()
}

/// Largest distance of two vectors' numbers.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}
