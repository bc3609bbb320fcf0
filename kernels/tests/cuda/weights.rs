//! Weights and formats: what a device makes itself, and what it refuses.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::cuda::{Cuda, Device};
use kernels::{
    AttentionShape, Error, HeadNorms, KvFormat, Lookup, MatrixUse, PageShape, RopeSpec, RotaryHeads, RowOps, Scheme,
    Storage, WeightFormat, WeightPart,
};

/// Random weights are made on the device; they are the numbers that the host would have made.
pub fn random_weights_are_those_of_the_host<D: Device>(backend: &Cuda<D>) {
    let part = WeightPart::Random { rows: 40, cols: 50, seed: 11, deviation: 0.7 };
    let table = backend.matrix(&[part], WeightFormat::Bf16, MatrixUse::Lookup).unwrap();
    let ids: Vec<u32> = (0..40).collect();
    let mut out = backend.wide_activations(40, 50).unwrap();
    backend.embed(Lookup::new(&table, 1.0), &ids, &mut out);
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

/// A head that is normed lies in the registers of one warp.
pub fn norms_of_heads_wider_than_a_warp_holds_are_refused<D: Device>(backend: &Cuda<D>) {
    for (head_dim, fits) in [(256, true), (264, false)] {
        let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim, scale: 1.0, softcap: None };
        let part = WeightPart::Random { rows: 1, cols: head_dim, seed: 1, deviation: 1.0 };
        let gain = backend.gain(&part).unwrap();
        let table = backend.rope_table(8, head_dim, RopeSpec::unscaled(10_000.0)).unwrap();
        let norms = Some(HeadNorms { query: &gain, key: &gain, eps: 1e-6 });
        let mut rows = backend.activations(1, 3 * head_dim).unwrap();
        let mut rope = || backend.rope(&mut rows, &[3], RotaryHeads { shape: &shape, table: &table, norms });
        assert_eq!(catch_unwind(AssertUnwindSafe(&mut rope)).is_ok(), fits, "heads {head_dim} wide");
    }
}
