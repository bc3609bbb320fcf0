//! Weights and formats: what a device makes itself, and what it refuses.

use kernels::cuda::{Cuda, Device};
use kernels::{Error, KvFormat, MatrixUse, PageShape, RowOps, Scheme, Storage, WeightFormat, WeightPart};

/// Random weights are made on the device; they are the numbers that the host would have made.
pub fn random_weights_are_those_of_the_host<D: Device>(backend: &Cuda<D>) {
    let part = WeightPart::Random { rows: 40, cols: 50, seed: 11, deviation: 0.7 };
    let table = backend.matrix(&[part], WeightFormat::Bf16, MatrixUse::Lookup).unwrap();
    let ids: Vec<u32> = (0..40).collect();
    let mut out = backend.wide_activations(40, 50).unwrap();
    backend.embed(&table, &ids, 1.0, &mut out);
    let mut expected = vec![0.0; 40 * 50];
    expected.chunks_mut(50).enumerate().for_each(|(row, values)| part.read_row(row, values));
    expected.iter_mut().for_each(|value| *value = kernels::math::round_bf16(*value));
    assert_eq!(backend.download(&out, 40), expected);
}

/// Weights and pages in other formats are errors.
pub fn what_the_kernels_do_not_compute_is_refused<D: Device>(backend: &Cuda<D>) {
    let part = WeightPart::Random { rows: 8, cols: 8, seed: 1, deviation: 1.0 };
    for format in [WeightFormat::F32, WeightFormat::Quantized(Scheme::Int4)] {
        assert!(matches!(backend.matrix(&[part], format, MatrixUse::Multiply), Err(Error::Unavailable { .. })));
    }
    let shape = PageShape { pages: 2, layers: 1, kv_heads: 1, head_dim: 8 };
    for format in [KvFormat::F32, KvFormat::Int8] {
        assert!(matches!(backend.pages(shape, &[format]), Err(Error::Unavailable { .. })));
    }
}
