//! Products with a range of a matrix's output columns.

use std::ops::Range;

use kernels::{Backend, LinearRows, Outputs, WeightFormat};

use super::numbers::{matrix, numbers, upload};
use super::runner::{Runner, both};

const COLS: usize = 72;
const OUTPUTS: usize = 200;

/// Ranges within a panel, across panels, of whole panels, and up to the end.
const RANGES: [Range<usize>; 6] = [0..5, 64..128, 3..130, 63..65, 130..131, 77..200];

/// A product with all columns, or some.
fn product<B: Backend>(backend: &B, format: WeightFormat, count: usize, range: Option<Range<usize>>) -> Vec<f32> {
    let weights = matrix(backend, 95, (OUTPUTS, COLS), format);
    let x = upload(backend, &numbers(96, (count + 3) * COLS), COLS);
    let width = range.as_ref().map_or(OUTPUTS, Range::len);
    let mut out = backend.activations(count + 1, width).unwrap();
    let outputs = Outputs { matrix: &weights, range };
    backend.linear(&x, outputs, LinearRows { from: 3, to: 1, count }, &mut out);
    backend.download(&out, count + 1).split_off(width)
}

/// Bit for bit, whatever the number of rows.
pub fn columns_of_a_range_are_those_of_the_whole_product<B: Backend>(
    backend: &B,
    formats: &[WeightFormat],
    counts: &[usize],
) {
    for (&format, &count) in formats.iter().flat_map(|format| counts.iter().map(move |count| (format, count))) {
        let all = product(backend, format, count, None);
        for range in RANGES {
            let expected: Vec<f32> = all.chunks(OUTPUTS).flat_map(|row| &row[range.clone()]).copied().collect();
            let columns = product(backend, format, count, Some(range.clone()));
            assert_eq!(columns, expected, "{count} rows of {format:?}, columns {range:?}, {}", backend.describe());
        }
    }
}

pub fn ranges_of_columns_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    for count in [1, 9, 70, 300] {
        for range in RANGES {
            both!(run, 2e-6, |backend| product(backend, run.precision.into(), count, Some(range.clone())));
        }
    }
}
