//! Ops on rows.

use kernels::{
    AttentionShape, Backend, Lookup, MatrixUse, Norm, OwnRow, RopeSpec, RotaryHeads, RowOps, Sandwich, SeamRows,
    Storage, WeightPart,
};

use super::numbers::{bytes, numbers, stored, upload, upload_wide};
use super::runner::{Runner, both};

pub fn lookups_follow_the_reference_in_both_layouts<B: Backend>(run: &Runner<'_, B>) {
    for usage in [MatrixUse::Lookup, MatrixUse::Multiply] {
        for cols in [6, 33, 512] {
            both!(run, 0.0, |backend| {
                let part = WeightPart::Random { rows: 130, cols, seed: 7, deviation: 1.0 };
                let table = backend.matrix(&[part], run.precision.into(), usage).unwrap();
                let mut out = backend.wide_activations(5, cols).unwrap();
                backend.embed(Lookup::new(&table, 22.625), &[0, 129, 64, 63, 64], &mut out);
                backend.download(&out, 5)
            });
        }
    }
}

pub fn an_id_may_have_a_row_of_its_own<B: Backend>(run: &Runner<'_, B>) {
    for cols in [6, 33, 512] {
        both!(run, 0.0, |backend| {
            let part = |rows, seed| WeightPart::Random { rows, cols, seed, deviation: 1.0 };
            let table = backend.matrix(&[part(130, 7)], run.precision.into(), MatrixUse::Multiply).unwrap();
            let row = backend.matrix(&[part(1, 8)], run.precision.into(), MatrixUse::Lookup).unwrap();
            let own = Some(OwnRow { id: 64, row: &row });
            let mut out = backend.wide_activations(5, cols).unwrap();
            backend.embed(Lookup { table: &table, scale: 22.625, own }, &[0, 129, 64, 63, 64], &mut out);
            let found = backend.download(&out, 5);
            let (scaled, plain) = (&found[3 * cols..4 * cols], &found[4 * cols..]);
            assert_eq!(plain, &found[2 * cols..3 * cols]);
            assert!(plain.iter().all(|number| number.abs() < 8.0), "a row of its own is not scaled");
            assert!(scaled.iter().any(|number| number.abs() > 8.0), "others are");
            found
        });
    }
}

pub fn norms_and_seams_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    for (rows, width) in [(1, 8), (3, 33), (70, 512)] {
        let (x, y) = (numbers(8, rows * width), numbers(9, rows * width));
        let (post, pre) = (bytes(&numbers(10, width)), bytes(&numbers(11, width)));
        both!(run, 2e-6, |backend| {
            let gain = backend.gain(&stored(1, width, &post)).unwrap();
            let mut out = backend.activations(rows, width).unwrap();
            let norm = Norm { gain: &gain, eps: 1e-6 };
            backend.rms_norm(&upload_wide(backend, &x, width), norm, rows, &mut out);
            backend.download(&out, rows)
        });
        both!(run, 2e-6, |backend| {
            let post = backend.gain(&stored(1, width, &post)).unwrap();
            let pre = backend.gain(&stored(1, width, &pre)).unwrap();
            let mut residual = upload_wide(backend, &x, width);
            let mut out = backend.activations(rows, width).unwrap();
            // The rows are the same in one piece and in several.
            let y = upload(backend, &y, width);
            for rows in [0..rows.div_ceil(3), rows.div_ceil(3)..rows].into_iter().filter(|rows| !rows.is_empty()) {
                let gains = Sandwich { post: &post, pre: &pre, eps: 1e-6 };
                let seam = SeamRows { residual: &mut residual, x: &mut out };
                backend.sandwich(&y, gains, rows, seam);
            }
            let mut both = backend.download(&residual, rows);
            both.extend(backend.download(&out, rows));
            both
        });
    }
}

pub fn rotation_and_gated_activation_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 16, scale: 1.0, softcap: None };
    let x: Vec<f32> = numbers(12, 40 * 128).iter().map(|v| v * 3.0).collect();
    let positions: Vec<u32> = (0..40).map(|i| (i * 211) % 8000).collect();
    both!(run, 2e-6, |backend| {
        let table = backend.rope_table(8000, 16, RopeSpec::unscaled(10_000.0)).unwrap();
        let mut rows = upload(backend, &x, 128);
        backend.rope(&mut rows, &positions, RotaryHeads { shape: &shape, table: &table, norms: None });
        backend.download(&rows, 40)
    });
    both!(run, 2e-6, |backend| {
        let mut out = backend.activations(40, 64).unwrap();
        backend.geglu(&upload(backend, &x, 128), 40, &mut out);
        backend.download(&out, 40)
    });
}
