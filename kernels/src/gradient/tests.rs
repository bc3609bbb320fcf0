//! Numbers and finite differences for the tests of `gradient`.
//!
//! Called by the tests of its files. The functions that are differentiated are textbook forms in float64.

/// `count` numbers of about unit size, the same for the same seed.
pub(super) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let draw = |index: usize| {
        let words = crate::math::philox(seed, [index as u32, 0, 0, 0]);
        words.iter().map(|&word| word as f32 / u32::MAX as f32 - 0.5).sum::<f32>() * 1.7
    };
    (0..count).map(draw).collect()
}

/// The numbers in float64.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Compares a gradient with the central differences of `function` at `at`.
pub(super) fn hold_gradient(gradient: &[f32], at: &[f32], function: impl Fn(&[f64]) -> f64) {
    assert_eq!(gradient.len(), at.len());
    let mut point = wide(at);
    for (index, &gradient) in gradient.iter().enumerate() {
        let (middle, step) = (point[index], 1e-5);
        point[index] = middle + step;
        let above = function(&point);
        point[index] = middle - step;
        let below = function(&point);
        point[index] = middle;
        let expected = (above - below) / (2.0 * step);
        let error = (f64::from(gradient) - expected).abs();
        assert!(error < 1e-5 + 2e-5 * expected.abs(), "element {index}: {gradient} instead of {expected}");
    }
}

/// Compares values with those of a textbook form.
pub(super) fn hold_values(values: &[f32], expected: &[f64]) {
    assert_eq!(values.len(), expected.len());
    for (index, (&value, &expected)) in values.iter().zip(expected).enumerate() {
        let error = (f64::from(value) - expected).abs();
        assert!(error < 2e-6 + 5e-6 * expected.abs(), "element {index}: {value} instead of {expected}");
    }
}

/// `sum(a * b)`: reduces an output to one number, so that `b` is the incoming gradient.
pub(super) fn inner(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum()
}

/// The function's result on one thread and on several.
pub(super) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}
